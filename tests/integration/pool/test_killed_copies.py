"""A pool process that is killed while it copies the folder of a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from runtime.settings import CHECKOUT

START = """
import os, shutil, signal, sys
from pathlib import Path
from runtime.child import Children
from runtime.pool.workers import PoolWorkers
from runtime.settings import load

last, copied, copy = int(sys.argv[2]), [], shutil.copy2

def copy2(source, target):
    copy(source, target)
    copied.append(target)
    if len(copied) == last:
        os.kill(os.getpid(), signal.SIGKILL)

shutil.copy2 = copy2
workers = PoolWorkers("exec", [Path(sys.argv[1])], Children(load(os.environ)))
workers.load()
print(workers.current["w"].folder)
"""
MANIFEST = 'id = "w"\nname = "W"\ntype = "exec"\ncommand = ["./run.sh"]\n'
FILES = {"run.sh", "worker.toml", *(f"data/{number}" for number in range(8))}


def start(folder: Path, *, kill_after: int = 0) -> subprocess.CompletedProcess[str]:
    """Have a pool process load its workers, and kill it once so many files are copied."""
    environ = {**os.environ, "TMPDIR": str(folder / "tmp"), "BRANCHLINE_HOME": str(folder / "home")}
    command = [sys.executable, "-c", START, str(folder / "workers"), str(kill_after)]
    return subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False)


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_pool_killed_while_it_copies_a_worker_leaves_nothing_that_the_next_one_uses(tmp_path: Path) -> None:
    source = tmp_path / "workers" / "w"
    for name in FILES:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(MANIFEST if name == "worker.toml" else name)
    (source / "run.sh").chmod(0o755)
    (tmp_path / "tmp").mkdir()

    killed = start(tmp_path, kill_after=5)

    assert killed.returncode == -signal.SIGKILL
    [left] = (tmp_path / "tmp").glob("branchline-runs-*")
    [half] = (left / "versions").iterdir()
    assert len(files_in(half)) == 5

    copy = Path(start(tmp_path).stdout.strip())

    assert not left.exists()
    assert files_in(copy) == FILES
    assert all((copy / name).read_bytes() == (source / name).read_bytes() for name in FILES)
    assert [*copy.parent.iterdir()] == [copy]
