"""Files over HTTP: uploaded, read, deleted, and nobody else's."""

from __future__ import annotations

import copy
import io
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from runtime.settings import Settings
from runtime.store import threads
from tests.support.web import Client
from web.core import Core

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


def upload(client: Client, content: bytes, name: str = "a.png") -> TestResponse:
    # By hand: of a large file the test client makes one on the disk, and does not close it.
    head = f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + b"\r\n--edge--\r\n"
    return client.post("/api/files", data=body, content_type="multipart/form-data; boundary=edge")


def uploaded(client: Client, content: bytes, name: str = "a.png") -> dict[str, Any]:
    answer = upload(client, content, name)
    assert answer.status_code == 201, answer.text
    return answer.json["file"]


def kept(settings: Settings) -> list[Path]:
    """The contents on the disk, and uploads that are under way."""
    return [path for path in (settings.home / "files").rglob("*") if path.is_file()]


def test_a_file_is_uploaded_and_read_again(ada: Client) -> None:
    content = bytes(range(256)) * 5000
    answer = upload(ada, content, "pictures/noise.bin")
    assert answer.status_code == 201, answer.text
    file = answer.json["file"]
    assert (file["name"], file["type"], file["size"]) == (
        "noise.bin",
        "application/octet-stream",
        len(content),
    )
    assert ada.get(answer.headers["Location"]).json["file"] == file
    read = ada.get(f"/api/files/{file['id']}/content")
    assert read.data == content
    assert read.headers["Content-Disposition"].startswith('attachment; filename="noise.bin"')
    assert read.headers["Cache-Control"] == "private, no-cache"
    assert "sandbox" in read.headers["Content-Security-Policy"]
    assert [one["id"] for one in ada.get("/api/files").json["items"]] == [file["id"]]


@pytest.mark.parametrize(
    ("content", "name", "type", "sent_as", "shown"),
    [
        (PNG, "a.txt", "image/png", "image/png", True),
        (
            b"<svg onload='alert(1)'/>",
            "a.png",
            "image/svg+xml",
            "application/octet-stream",
            False,
        ),
        (
            b" <!DOCTYPE html><script>",
            "a.jpg",
            "text/html",
            "application/octet-stream",
            False,
        ),
        (b"%PDF-1.7 \xff", "a.png", "application/pdf", "application/pdf", False),
        (b"a,b\n1,2\n", "a.csv", "text/csv", "text/csv; charset=utf-8", False),
        (b"B\xc3\xa4ume", "a.exe", "text/plain", "text/plain; charset=utf-8", False),
        (b"", "empty", "text/plain", "text/plain; charset=utf-8", False),
    ],
    ids=("picture", "svg", "html", "pdf", "csv", "text", "empty"),
)
def test_the_type_is_found_by_looking(
    ada: Client, content: bytes, name: str, type: str, sent_as: str, shown: bool
) -> None:
    file = uploaded(ada, content, name)
    read = ada.get(f"/api/files/{file['id']}/content")

    assert (file["type"], read.headers["Content-Type"], read.data) == (
        type,
        sent_as,
        content,
    )
    assert read.headers["Content-Disposition"].startswith("inline" if shown else "attachment")


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=5-500", 206, b"56789"),
        ("bytes=10-", 416, None),
        ("bytes=0-1,4-5", 200, b"0123456789"),
        ("lines=1-2", 200, b"0123456789"),
        ("nonsense", 200, b"0123456789"),
    ],
)
def test_a_range_is_read(ada: Client, asked: str, status: int, content: bytes | None) -> None:
    file = uploaded(ada, b"0123456789")

    read = ada.get(f"/api/files/{file['id']}/content", headers={"Range": asked})

    assert read.status_code == status
    assert content is None or read.data == content
    if status == 416:
        assert read.headers["Content-Range"] == "bytes */10"


def test_a_content_that_is_known_is_not_sent_again(ada: Client) -> None:
    path = f"/api/files/{uploaded(ada, b'0123456789')['id']}/content"
    tag = ada.get(path).headers["ETag"]

    assert ada.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert ada.get(path, headers={"Range": "bytes=0-1", "If-Range": tag}).data == b"01"
    assert ada.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'}).data == b"0123456789"
    head = ada.head(path)
    assert (head.headers["Content-Length"], head.data) == ("10", b"")


def test_nobody_else_has_a_file(ada: Client, bob: Client, nobody: Client) -> None:
    file = uploaded(ada, PNG)
    path = f"/api/files/{file['id']}"

    for what in ("", "/content"):
        assert bob.get(path + what).status_code == 404
        assert nobody.get(path + what).status_code == 401
    assert bob.delete(path).status_code == 404
    assert bob.get("/api/files").json["items"] == []
    assert ada.get(f"/api/files/{uuid.uuid4()}").status_code == 404


def test_the_same_content_is_kept_once_for_each_workspace(
    ada: Client, bob: Client, web_settings: Settings
) -> None:
    first, second, others = (
        uploaded(ada, PNG),
        uploaded(ada, PNG, "b.png"),
        uploaded(bob, PNG),
    )
    assert len({first["id"], second["id"], others["id"]}) == 3
    assert len(kept(web_settings)) == 2

    assert ada.delete(f"/api/files/{first['id']}").status_code == 204
    assert ada.get(f"/api/files/{first['id']}/content").status_code == 404
    assert ada.get(f"/api/files/{second['id']}/content").data == PNG
    assert ada.delete(f"/api/files/{second['id']}").status_code == 204
    assert bob.get(f"/api/files/{others['id']}/content").data == PNG
    assert len(kept(web_settings)) == 1


def test_a_file_that_is_too_large_leaves_nothing(ada: Client, web_settings: Settings) -> None:
    answer = upload(ada, b"x" * (web_settings.files.max_size + 1))

    assert answer.status_code == 413
    assert "50 MiB" in answer.json["detail"]
    assert kept(web_settings) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"data": b"abc", "content_type": "text/plain"}, "multipart/form-data"),
        (
            {"data": b"abc", "content_type": "multipart/form-data; boundary=x"},
            "multipart/form-data",
        ),
        ({"data": {"other": (io.BytesIO(b"x"), "a")}}, "no part `file`"),
        ({"data": {"other": (io.BytesIO(b"x"), "a"), "file": "a text"}}, "no part `file`"),
        (
            {"data": {"file": [(io.BytesIO(b"x"), "a"), (io.BytesIO(b"y"), "b")]}},
            "more than one",
        ),
    ],
)
def test_a_body_without_a_file_is_refused(
    ada: Client, web_settings: Settings, body: dict[str, Any], says: str
) -> None:
    answer = ada.post("/api/files", **copy.deepcopy(body))  # sending closes what it reads

    assert answer.status_code in (400, 422)
    assert says in answer.json["detail"]
    assert kept(web_settings) == []


def test_files_of_a_user_have_a_quota(ada: Client, bob: Client, core: Core, web_settings: Settings) -> None:
    core.files._quota = 100
    first = uploaded(ada, b"x" * 60)

    refused = upload(ada, b"y" * 41)
    assert refused.status_code == 422
    assert "Delete files" in refused.json["detail"]
    assert uploaded(bob, b"y" * 41)
    ada.delete(f"/api/files/{first['id']}")
    assert uploaded(ada, b"y" * 41)
    assert len(kept(web_settings)) == 2


def say(client: Client, thread: dict[str, Any], *files: dict[str, Any], **more: Any) -> TestResponse:
    message = {"role": "user", "content": "See", "files": [file["id"] for file in files], **more}
    body = {"parent_id": thread["root_state_id"], "messages": [message]}
    return client.post(f"/api/threads/{thread['id']}/states", json=body)


def test_a_message_names_files_of_its_workspace_only(ada: Client, bob: Client) -> None:
    thread, own, others = ada.thread(), uploaded(ada, PNG), uploaded(bob, PNG)

    said = say(ada, thread, own)
    assert said.json["state"]["messages"][0]["files"] == [
        {"id": own["id"], "name": "a.png", "type": "image/png", "size": len(PNG)}
    ]
    for stranger in (others, {"id": str(uuid.uuid4())}):
        refused = say(ada, thread, own, stranger)
        assert (refused.status_code, stranger["id"] in refused.text) == (404, True)
    assert say(ada, thread, {"id": "x"}).status_code == 422
    assert ada.delete(f"/api/files/{own['id']}").status_code == 409


def test_a_run_is_refused_whose_worker_takes_no_such_files(ada: Client, core: Core) -> None:
    thread, file = ada.thread(), uploaded(ada, PNG)
    message = {"role": "user", "content": "See", "files": [file["id"]]}

    refused = ada.ask(thread, messages=[message])
    assert refused.status_code == 422
    assert refused.json["detail"].startswith("The worker 'parrot' takes no files, and 'a.png' is image/png.")
    state = say(ada, thread, file).json["state"]
    assert ada.ask(thread, messages=[], input_state_id=state["id"]).status_code == 422
    assert ada.ask(thread, input_state_id=state["id"]).status_code == 202


def test_files_go_with_the_last_thread_that_names_them(
    ada: Client, core: Core, web_settings: Settings
) -> None:
    file = uploaded(ada, PNG)
    first, second = ada.thread(), ada.thread()
    for thread in (first, second):
        say(ada, thread, file)
    core.files._unused_days = 0

    erase(ada, core, first)
    assert ada.get(f"/api/files/{file['id']}/content").data == PNG
    erase(ada, core, second)
    assert ada.get(f"/api/files/{file['id']}/content").status_code == 404
    assert kept(web_settings) == []


def erase(client: Client, core: Core, thread: dict[str, Any]) -> None:
    """Delete a thread for good, and what is not used any more."""
    client.delete(f"/api/threads/{thread['id']}")
    core.files.clean_up()
    client.delete(f"/api/trash/{thread['id']}")
    core.database.write(threads.purge, 30)
    core.files.clean_up()


def test_an_export_carries_files_to_another_workspace(ada: Client, bob: Client) -> None:
    thread, file = ada.thread(title="With files"), uploaded(ada, b"a,b\n", "a.csv")
    say(ada, thread, file)
    path = f"/api/threads/{thread['id']}/export"

    archive = ada.get(f"{path}?format=zip")
    content = archive.data
    archive.close()
    assert archive.headers["Content-Disposition"].endswith('.zip"')
    new = bob.post("/api/threads/import/archive", data=content, content_type="application/zip")
    assert new.status_code == 201, new.text
    [message] = history(bob, new.json["thread"])
    [named] = message["files"]
    assert (named["name"], named["type"], named["id"] != file["id"]) == ("a.csv", "text/csv", True)
    assert bob.get(f"/api/files/{named['id']}/content").data == b"a,b\n"

    exported = ada.get(path).json
    own, others = (client.post("/api/threads/import", json=exported).json["thread"] for client in (ada, bob))
    assert [file["id"]] == [named["id"] for named in history(ada, own)[0]["files"]]
    assert history(bob, others)[0]["files"] == []
    assert "*(file)* a.csv" in ada.get(f"{path}?format=markdown").text


def history(client: Client, thread: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/api/states/{thread['latest_state_id']}/messages").json[
        "items"
    ]
    return found


def zipped(compression: int, name: str = "thread.json", content: bytes = b"{}" + b" " * 999) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        archive.writestr(name, content)
    return made.getvalue()


def spoilt(archive: bytes, at: int) -> bytes:
    """With other bytes in the midst of it."""
    return archive[:at] + b"\xff" * 8 + archive[at + 8 :]


DEFLATED = zipped(zipfile.ZIP_DEFLATED)
NO_ARCHIVES = {
    "nothing": b"",
    "words": b"no archive",
    "empty": b"PK\x05\x06" + b"\0" * 18,
    "no thread": zipped(zipfile.ZIP_STORED, "other.json"),
    "no export": zipped(zipfile.ZIP_STORED),
    "bzip2": zipped(zipfile.ZIP_BZIP2),
    "lzma": zipped(zipfile.ZIP_LZMA),
    "deflate that is spoilt": spoilt(DEFLATED, 41),
    "content that is spoilt": spoilt(zipped(zipfile.ZIP_STORED), 60),
    "a name that is no UTF-8": zipped(zipfile.ZIP_STORED, "naïve").replace("ï".encode(), b"\xff\xff"),
    "cut off": DEFLATED[:-30],
}


@pytest.mark.parametrize("body", NO_ARCHIVES.values(), ids=NO_ARCHIVES.keys())
def test_what_is_no_archive_is_refused(ada: Client, web_settings: Settings, body: bytes) -> None:
    answer = ada.post("/api/threads/import/archive", data=body, content_type="application/zip")

    assert answer.status_code == 422
    assert kept(web_settings) == []
