"""``branchline new-worker``: a folder with a worker to begin with."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
from marshmallow import ValidationError

from runtime.cli.output import say
from runtime.errors import Invalid
from runtime.registry import WorkerType, load
from runtime.registry.manifest import NAME
from runtime.settings import CHECKOUT, current

_TEMPLATES = Path(__file__).parent / "worker_templates"
_TYPES = [kind.value for kind in WorkerType if kind is not WorkerType.REMOTE]
_LIBRARIES = ["langgraph", "openai-agents", "pydantic-ai", "openai"]


@click.command("new-worker")
@click.argument("name")
@click.option(
    "--type",
    "kind",
    type=click.Choice(_TYPES),
    default=_TYPES[0],
    show_default=True,
    help="How it is started.",
)
@click.option(
    "--from",
    "library",
    type=click.Choice(_LIBRARIES),
    help="What its agent is made with (type python).",
)
@click.option("--typescript", is_flag=True, help="Write it in TypeScript (type node).")
@click.option(
    "--path", type=click.Path(path_type=Path), help="The folder to make (default: NAME in workers/)."
)
def new_worker(name: str, kind: str, library: str | None, typescript: bool, path: Path | None) -> None:
    """Make a folder with a worker called NAME, to begin with.

    It has a worker.toml and what is started; in Python and JavaScript a test, too. A folder that
    exists is not touched.
    """
    if typescript and kind != WorkerType.NODE:
        raise Invalid("A worker in TypeScript has the type node; add --type node.")
    if library and kind != WorkerType.PYTHON:
        raise Invalid(f"A worker of {library} has the type python; leave out --type.")
    try:
        NAME(name)
    except ValidationError as error:
        raise Invalid(f"The name of a worker {error.messages[0]}.") from error
    folder = (path or CHECKOUT / "workers" / name).absolute()
    if folder.exists():
        raise Invalid(f"{folder} exists already; choose another name, or --path.")
    template = "node_typescript" if typescript else library or kind
    _write(_TEMPLATES / template.replace("-", "_"), folder, name)
    if kind == WorkerType.NODE:
        _link_package(folder)
    load(folder)
    say(_next_steps(folder, kind, library, name))


def _write(template: Path, folder: Path, name: str) -> None:
    """Copy the template; where it says "example worker", that becomes ``name``."""
    module = name.replace("-", "_")
    title = module.replace("_", " ").strip().capitalize() or name
    folder.mkdir(parents=True)
    for source in sorted(file for file in template.iterdir() if file.is_file()):
        text = source.read_text(encoding="utf-8")
        for old, new in (("example-worker", name), ("example_worker", module), ("Example worker", title)):
            text = text.replace(old, new)
        target = folder / source.name.replace("example_worker", module)
        target.write_text(text, encoding="utf-8")
        shutil.copymode(source, target)


def _link_package(folder: Path) -> None:
    """Let the worker's test and editors find the package branchline; a pool does without."""
    packages = folder / "node_modules"
    packages.mkdir()
    (packages / "branchline").symlink_to(CHECKOUT / "runtime" / "node_sdk")


def _next_steps(folder: Path, kind: str, library: str | None, name: str) -> str:
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    steps = [f"Made {shown}. Next:"]
    if library:
        steps.append(f"  cat {shown}/README.md     see which libraries it needs, and which key")
    if kind == WorkerType.HTTP:
        steps.append(f"  python {shown}/{name.replace('-', '_')}.py &     serve it")
    steps.append(f'  branchline run {shown} "hello"     try it on this terminal; --reload tries again')
    if kind == WorkerType.PYTHON:
        steps.append(f"  pytest {shown}     run its test")
    if kind == WorkerType.NODE:
        steps.append(f"  (cd {shown} && node --test)     run its test")
    steps.append("  branchline check     see whether it is valid; `branchline up` takes it up by itself")
    if folder.parent not in (place.absolute() for place in current().worker_folders):
        steps.append(f"For the server to find it: WORKERS_PATH={folder.parent}, and restart `branchline up`")
    return "\n".join(steps)
