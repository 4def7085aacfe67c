"""What users see of an error names no folder of the machine, whatever the folder is called."""

from __future__ import annotations

import os
import sys

from hypothesis import given
from hypothesis import strategies as st

from runtime.child.paths import known_folders, without_paths

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
FOLDERS = st.lists(NAMES, min_size=2, max_size=5).map(lambda names: "/" + "/".join(names))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(FOLDERS, NAMES, TEXTS, TEXTS)
def test_no_text_names_a_known_folder(folder: str, name: str, before: str, after: str) -> None:
    for said in (f"{folder}/{name}", folder, f"{folder}{name}"):
        assert folder not in without_paths(f"{before}{said}{after}", [folder])


@given(FOLDERS, NAMES)
def test_no_error_of_a_file_names_a_known_folder(folder: str, name: str) -> None:
    error = str(FileNotFoundError(2, "No such file or directory", f"{folder}/{name}"))
    scrubbed = without_paths(error, [folder])

    assert repr(folder)[1:-1] not in scrubbed
    assert scrubbed.startswith("[Errno 2] No such file or directory: ")


@given(st.lists(st.from_regex(r"[a-z0-9_.-]{1,8}", fullmatch=True), min_size=2, max_size=5))
def test_a_path_of_any_folder_without_spaces_becomes_the_name_of_its_file(parts: list[str]) -> None:
    path = "/" + "/".join(parts)

    assert without_paths(f"in {path} it was") == f"in {parts[-1]} it was"


def test_an_address_and_a_division_stay() -> None:
    text = "https://example.com/a/b: 1/2 of ./a/b"

    assert without_paths(text, ["/", "", "/srv/a b"]) == text


def test_the_folder_of_the_worker_home_and_the_interpreter_are_known() -> None:
    known = known_folders("/srv/my workers/one/one.py")

    assert known >= {"/srv/my workers/one", sys.prefix, os.path.expanduser("~"), os.getcwd()}
