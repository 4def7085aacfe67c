"""Versions: what is copied of a worker's folder, and what is linked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.errors import WorkerInvalid
from runtime.registry import digest, load, versions

MANIFEST = 'id = "w"\nname = "W"\ntype = "exec"\ncommand = ["./bin/run.sh", "x"]\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    files = ("bin/run.sh", "data/words", ".env", ".venv/bin/tool", "node_modules/m/m.js", "state/db")
    for name in (*files, "__pycache__/x.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "bin/run.sh").chmod(0o755)
    (folder / "worker.toml").write_text(MANIFEST + '[sandbox]\nwrite = ["state"]\n')
    (tmp_path / "beside").write_text("beside")
    (folder / "out").symlink_to("../beside")
    (folder / "in").symlink_to("data/words")
    return folder


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder


def test_a_copy_has_the_files_of_a_version_and_links_to_the_rest(source: Path, copies: Path) -> None:
    copy = versions.copied(versions.read(source), copies)

    assert (copy.source, copy.folder.parent) == (source, copies)
    assert copy.command == (str(copy.folder / "bin" / "run.sh"), "x")
    assert os.access(copy.command[0], os.X_OK)
    linked = {path.name for path in copy.folder.iterdir() if path.is_symlink()}
    assert linked == {".env", ".venv", "node_modules", "state", "out", "in"}
    assert not (copy.folder / "__pycache__").exists()

    (source / "data" / "words").write_text("changed")
    (source / ".env").write_text("changed")
    assert (copy.folder / "data" / "words").read_text() == "data/words"
    assert (copy.folder / "in").read_text() == "data/words"
    assert (copy.folder / "out").read_text() == "beside"
    assert (copy.folder / ".env").read_text() == "changed"
    (copy.folder / "state" / "new").write_text("kept")
    assert (source / "state" / "new").read_text() == "kept"


def test_a_large_file_is_linked(source: Path, copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_MAX_FULL", 4)
    copy = versions.copied(versions.read(source), copies)
    assert (copy.folder / "data" / "words").is_symlink()


def test_what_runs_write_is_no_change_of_their_worker(source: Path) -> None:
    before, seen = load(source).digest, versions.glance(source, load(source).written).identity
    (source / "state" / "db").write_text("more")
    assert load(source).digest == before
    assert versions.glance(source, load(source).written).identity == seen
    (source / "data" / "words").write_text("more")
    assert load(source).digest != before


def test_a_folder_that_is_changed_while_it_is_copied_is_not_taken(source: Path, copies: Path) -> None:
    reading = versions.read(source)
    (source / "data" / "words").write_text("changed meanwhile")
    with pytest.raises(versions.FolderChanges):
        versions.copied(reading, copies)
    assert list(copies.iterdir()) == []

    (source / "worker.toml").write_text("nothing")
    with pytest.raises(WorkerInvalid):
        versions.read(source)


def test_a_worker_that_writes_everywhere_in_its_folder_stays_there(source: Path, copies: Path) -> None:
    (source / "worker.toml").write_text(MANIFEST + '[sandbox]\nwrite = ["."]\n')
    assert versions.copied(versions.read(source), copies).folder == source


def test_a_copy_that_is_discarded_takes_nothing_else_with_it(source: Path, copies: Path) -> None:
    copy = versions.copied(versions.read(source), copies)
    versions.discard(copy)
    assert list(copies.iterdir()) == []
    assert (source / "state" / "db").exists() and (source / ".venv" / "bin" / "tool").exists()
