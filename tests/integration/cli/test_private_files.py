"""The data folder and all in it are their owner's only, whichever command makes them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import settings as settings_module
from runtime.store import Database, migrate, users
from tests.support.command_line import Command

ADD = ("user", "add", "ada@example.com", "--password", "correct horse battery")
COMMANDS = [("migrate",), ("doctor",), ADD, ("runs", "list"), ("reaper", "--once"), ("check",), ("openapi",)]


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """It takes nothing away, so that what is private was made so by a command."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(home: Path) -> dict[str, int]:
    """The modes of a folder and of everything in it."""
    found = [home, *home.rglob("*")]
    return {str(path.relative_to(home)): stat.S_IMODE(path.lstat().st_mode) for path in found}


def assert_private(home: Path) -> None:
    found = modes(home)
    open_to_others = {name: f"{mode:04o}" for name, mode in found.items() if mode & 0o077}
    assert not open_to_others
    assert found["."] == 0o700


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_makes_a_private_data_folder(
    branchline: Command, home: Path, command: tuple[str, ...]
) -> None:
    branchline(*command)

    if home.exists():
        assert_private(home)


@pytest.mark.parametrize("command", [("migrate",), ("doctor",), ADD], ids=lambda command: command[0])
def test_a_command_tightens_an_open_data_folder_and_says_so(
    migrated: Command, home: Path, command: tuple[str, ...]
) -> None:
    for name in ("branchline.db-wal", "secret", "some.log"):
        (home / name).touch()
    for path in (home, *home.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)

    done = migrated(*command)

    assert_private(home)
    for name in ("", "/branchline.db", "/secret"):
        assert f"{home}{name} was open to other users of this machine" in done.stderr


def test_a_link_out_of_the_data_folder_is_not_followed(
    branchline: Command, home: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    outside.chmod(0o644)
    home.mkdir()
    (home / "link").symlink_to(outside)

    branchline("migrate")

    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_a_database_outside_the_data_folder_is_private_and_its_folder_stays(
    branchline: Command, tmp_path: Path
) -> None:
    shared, new = tmp_path / "shared", tmp_path / "new"
    shared.mkdir()
    shared.chmod(0o775)

    for folder in (shared, new):
        done = branchline("migrate", DATABASE_URL=f"sqlite:///{folder}/my.db")
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE((folder / "my.db").stat().st_mode) == 0o600

    assert stat.S_IMODE(shared.stat().st_mode) == 0o775
    assert_private(new)


def test_a_folder_that_is_named_as_the_database_stays_as_it_is(branchline: Command, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)

    done = branchline("migrate", DATABASE_URL=f"sqlite:///{folder}")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777


def test_an_open_database_is_private_with_what_lies_beside_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = settings_module.load({"BRANCHLINE_HOME": str(home)})
    migrate.upgrade(settings.database_url)
    database = Database(settings.database_url, settings.database)
    database.write(users.register, email="ada@example.com", password_hash="-")

    assert (home / "branchline.db-wal").exists()
    assert_private(home)
    database.close()


def test_a_secret_makes_a_private_data_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"

    assert settings_module.load({"BRANCHLINE_HOME": str(home)}).secret_key

    assert_private(home)
