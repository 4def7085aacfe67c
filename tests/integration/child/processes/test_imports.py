"""What a worker's import leaves behind: threads, what it starts for all runs, handlers of atexit."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from runtime.child import Children
from runtime.child.child_process import ChildProcess
from runtime.errors import ChildFailed
from runtime.system import processes
from tests.support.talk import WITHIN, Talk

THREADED = """
    import threading, time
    threading.Thread(target=threading.Event().wait, daemon=True, name="poller").start()
    imported = time.monotonic()
    def run(run):
        yield str(imported)
    """


def answer(children: Children, worker: Any, run_id: str = "r") -> Talk:
    return Talk(children.start(worker, run_id=run_id, environ={}), {}).read_all()


def test_threads_of_an_import_are_named_and_how_to_keep_the_fork(
    children: Children, make_worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    worker = make_worker(THREADED)
    for _ in range(2):
        children.warm(worker)
    (said,) = [record.getMessage() for record in caplog.records if "starts threads" in record.getMessage()]
    assert "1 thread: 'poller'" in said
    assert "Start threads when a run needs them" in said
    assert children.hosts.notes[worker.id] is not None


def test_a_worker_that_cannot_be_forked_is_imported_before_its_run_comes(
    children: Children, make_worker: Any
) -> None:
    worker = make_worker(THREADED)
    children.warm(worker)
    deadline = time.monotonic() + WITHIN
    while True:  # the first ones may come before a spare is ready
        asked = time.monotonic()
        if float(answer(children, worker).text) < asked:
            break
        assert time.monotonic() < deadline


def test_an_interpreter_that_ends_while_it_imports_is_not_started_again_and_again(
    children: Children, make_worker: Any
) -> None:
    worker = make_worker(
        f"""
    import os
    if os.environ.get("IMPORTED"):
        os._exit(3)
    os.environ["IMPORTED"] = "1"
    {THREADED.strip()}
    """
    )
    child = children.start(worker, run_id="r", environ={})
    assert child.wait(WITHIN) == 3
    child.close()


def test_numerical_libraries_begin_no_threads_unless_the_author_wants_them(
    children: Children, make_worker: Any
) -> None:
    source = """
        import os
        names = [name for name in os.environ if name.endswith("_NUM_THREADS")]
        def run(run):
            yield " ".join(f"{name}={os.environ[name]}" for name in sorted(names))
        """
    assert "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1" in answer(children, make_worker(source)).text
    children.hosts._environ = {**children.hosts._environ, "OMP_NUM_THREADS": "4"}
    wanted = make_worker(source, 'env = ["OMP_NUM_THREADS"]')
    assert "OMP_NUM_THREADS=4 OPENBLAS_NUM_THREADS=1" in answer(children, wanted).text


@pytest.mark.frameworks
@pytest.mark.parametrize(
    "wants", ["", 'os.environ["OPENBLAS_NUM_THREADS"] = "2"'], ids=["default", "threads"]
)
def test_a_worker_with_numpy_is_forked_unless_it_wants_threads(
    children: Children, make_worker: Any, wants: str
) -> None:
    pytest.importorskip("numpy")
    worker = make_worker(
        f"""
        import os
        {wants}
        import numpy
        def run(run):
            yield str(numpy.ones(3).sum())
        """
    )
    assert answer(children, worker).text == "3.0"
    said = children.hosts.notes[worker.id]
    if not wants:
        assert said is None
    elif len(os.sched_getaffinity(0)) > 1:  # with one processor it starts none
        assert said is not None and "1 of native code, since the import of numpy." in said


STARTS_A_PROGRAM = """
    import atexit, os, subprocess
    from runtime.sdk import worker

    @worker.startup
    def start():
        global program
        program = subprocess.Popen(["sleep", "3600"])

    def run(run):
        yield f"{program.pid} {os.getppid()}"
    """


@pytest.mark.parametrize("number", [None, signal.SIGKILL], ids=["closed", "killed"])
def test_startup_is_called_once_and_what_it_starts_ends_with_the_host(
    children: Children, make_worker: Any, number: int | None
) -> None:
    worker = make_worker(STARTS_A_PROGRAM)
    answers = {answer(children, worker).text for _ in range(3)}
    (pids,) = answers
    program, host = map(int, pids.split())
    assert processes.is_alive(program)
    if number is None:
        children.close()
    else:
        os.kill(host, number)
    deadline = time.monotonic() + WITHIN
    while not processes.has_ended(program):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("startup", "words"),
    [
        ("def start():\n    raise ValueError('no')", r"startup failed: ValueError: no \(made.py, line 4\)"),
        ("async def start(): ...", "must not be async"),
    ],
    ids=["raises", "async"],
)  # fmt: skip
def test_a_startup_that_fails_says_why(
    children: Children, make_worker: Any, startup: str, words: str
) -> None:
    source = f"from runtime.sdk import worker\n@worker.startup\n{startup}\ndef run(run):\n    yield 'x'\n"
    with pytest.raises(ChildFailed, match=words):
        children.warm(make_worker(source))


HANDLERS = """
    import atexit, sys, weakref
    {threads}
    class Library: ...
    kept = Library()
    weakref.finalize(kept, print, "of a library, for the host", file=sys.stderr)
    atexit.register(print, "imported", file=sys.stderr)
    def run(run):
        atexit.register(print, "in the run", file=sys.stderr)
        yield "x"
        while run.config.get("hang"):
            __import__("time").sleep(0.01)
    """
THREAD = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"


@pytest.mark.parametrize("threads", ["", THREAD], ids=["forked", "interpreter"])
def test_handlers_of_atexit_run_at_the_end_of_a_run_once(
    children: Children, make_worker: Any, threads: str
) -> None:
    worker = make_worker(HANDLERS.format(threads=threads))
    for _ in range(2):
        lines = answer(children, worker).log.splitlines()
        assert [line for line in lines if "library" not in line] == ["in the run", "imported"]
        assert threads or len(lines) == 2, "what libraries have registered in the host is its own"


def test_handlers_of_atexit_run_within_the_grace_of_sigterm(children: Children, make_worker: Any) -> None:
    child = children.start(make_worker(HANDLERS.format(threads="")), run_id="r", environ={})
    assert isinstance(child, ChildProcess)
    talk = Talk(child, {"hang": True}).until_text("x")
    child.stop(WITHIN)
    assert child.wait(WITHIN) == 128 + signal.SIGTERM
    assert talk.log.splitlines() == ["in the run", "imported"]
