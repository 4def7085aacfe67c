"""The folder of a pool process is removed while the folders of its hosts still are."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.child.hosts import Hosts
from runtime.child.sandboxing import Sandboxing
from runtime.sandbox import folders
from runtime.sandbox.folders import PoolFolder, remove_aside
from runtime.settings import load


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PoolFolder:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = PoolFolder()
    for name in ("mine", "another"):
        copy = Path(folder.versions(), name, "data")
        copy.mkdir(parents=True)
        (copy / "words").touch()
    return folder


def test_a_folder_that_another_pool_takes_for_an_abandoned_one_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made, make = list[str](), tempfile.mkdtemp

    def make_while_another_starts(prefix: str) -> str:
        made.append(make(prefix=prefix))
        if len(made) == 1:
            folders._remove_abandoned()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", make_while_another_starts)
    folder = PoolFolder()

    assert [os.path.exists(path) for path in made] == [False, True]
    folder.remove()


def test_an_entry_that_somebody_else_removes_keeps_no_other_one(
    pool: PoolFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [pool.make() for _ in range(3)]
    is_folder = folders._is_folder

    def once_they_are_gone(path: str) -> bool:
        monkeypatch.setattr(folders, "_is_folder", is_folder)
        for host in hosts:
            remove_aside(host)
        return is_folder(path)

    monkeypatch.setattr(folders, "_is_folder", once_they_are_gone)
    pool.remove()

    assert not os.path.exists(pool.path)


def test_what_comes_into_a_folder_while_it_is_removed_goes_too(
    pool: PoolFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmdir = os.rmdir

    def once_there_is_more(path: str) -> None:
        monkeypatch.setattr(os, "rmdir", rmdir)
        Path(path, "late").touch()
        rmdir(path)

    monkeypatch.setattr(os, "rmdir", once_there_is_more)
    pool.remove()

    assert not os.path.exists(pool.path)


def test_the_folder_is_removed_beside_those_of_its_hosts(tmp_path: Path, pool: PoolFolder) -> None:
    pools = [pool, *(PoolFolder() for _ in range(50))]
    with ThreadPoolExecutor(2) as threads:
        for one in pools:
            removals = [threads.submit(remove_aside, one.make()) for _ in range(2)]
            one.remove()
            for removal in removals:
                removal.result()

    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_which_something_stays_is_locked_no_more(
    pool: PoolFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = os.unlink

    def refuse(path: str) -> None:
        raise PermissionError(1, "not permitted", path)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        pool.remove()
    monkeypatch.setattr(os, "unlink", unlink)

    later = PoolFolder()
    assert not os.path.exists(pool.path)
    later.remove()


def test_a_folder_that_is_filled_without_end_is_given_up(
    pool: PoolFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmdir = os.rmdir

    def fill(path: str) -> None:
        Path(path, "more").touch()
        rmdir(path)

    monkeypatch.setattr(os, "rmdir", fill)
    with pytest.raises(OSError, match="not empty"):
        pool.remove()


def test_what_stays_of_it_keeps_no_pool_process_from_its_end(
    pool: PoolFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(1, "not permitted", path)

    sandboxing = Sandboxing(load({}), {})
    path = sandboxing.pool_folder().make()
    monkeypatch.setattr(os, "rmdir", refuse)
    sandboxing.close()

    assert path.rpartition("/")[0] in caplog.text and "not permitted" in caplog.text


def test_hosts_are_closed_twice_at_the_same_time() -> None:
    class Host:
        def close(self) -> None:
            pass

        def wait(self) -> None:
            """Meanwhile the other one has come to its end."""
            hosts._hosts.clear()

        def wait_removed(self) -> None:
            pass

    hosts = Hosts({}, 1, Sandboxing(load({}), {}))
    hosts._hosts = {(name, ""): Host() for name in "ab"}  # type: ignore[misc]

    hosts.close()

    assert not hosts._hosts


def test_after_its_end_a_pool_process_makes_no_folder(tmp_path: Path, pool: PoolFolder) -> None:
    """A look for changed workers may be under way then, or the replacement of a host."""
    pool.remove()
    sandboxing = Sandboxing(load({}), {})
    sandboxing.pool_folder()
    sandboxing.close()
    sandboxing.close()

    with pytest.raises(OSError, match="shutting down"):
        sandboxing.pool_folder()
    assert list(tmp_path.iterdir()) == []
