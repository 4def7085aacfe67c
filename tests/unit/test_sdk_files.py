"""Files in the SDK: what models are given of them, and how messages name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.sdk.errors import Failure
from runtime.sdk.files import File, make
from runtime.sdk.formats import anthropic, openai_chat, openai_responses
from runtime.sdk.messages import Message
from runtime.sdk.protocol.fields import ProtocolError, decode
from runtime.sdk.turns import turns
from tests.support.cut_answers import answering

ID = "0b8e7f0a-1c2d-4e3f-8a9b-0c1d2e3f4a5b"


@pytest.fixture
def message(tmp_path: Path) -> Message:
    """One of the user with a picture, a document, a text, and something else."""
    files = []
    for name, type, content in (
        ("a.png", "image/png", b"PNG"),
        ("b.pdf", "application/pdf", b"PDF"),
        ("c.csv", "text/csv", b"x,y\n"),
        ("d.bin", "application/octet-stream", b"\0"),
    ):
        (tmp_path / name).write_bytes(content)
        path = str(tmp_path / name)
        files.append({"id": ID, "name": name, "type": type, "size": len(content), "path": path})
    return Message({"role": "user", "content": "See", "files": files})


OTHERS = [
    "File c.csv:\n\nx,y\n",
    "(File d.bin, application/octet-stream, 1 bytes, which cannot be shown here.)",
]


def test_models_of_openai_get_pictures_documents_and_texts(message: Message) -> None:
    [chat] = openai_chat(turns([message]))
    [response] = openai_responses(turns([message]))

    assert chat["content"][:2] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}},
        {"type": "file", "file": {"filename": "b.pdf", "file_data": "data:application/pdf;base64,UERG"}},
    ]
    assert [part["text"] for part in chat["content"][2:]] == [*OTHERS, "See"]
    assert response["content"][:2] == [
        {"type": "input_image", "image_url": "data:image/png;base64,UE5H", "detail": "auto"},
        {"type": "input_file", "filename": "b.pdf", "file_data": "data:application/pdf;base64,UERG"},
    ]


def test_models_of_anthropic_get_them_too(message: Message) -> None:
    [said] = anthropic(turns([message]))["messages"]

    assert said["content"][:2] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "UE5H"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "UERG"},
            "title": "b.pdf",
        },
    ]


def test_a_model_that_does_not_see_is_told_the_names(message: Message) -> None:
    [chat] = openai_chat(turns([message], pictures=False))

    assert "(File a.png, image/png, 3 bytes, which cannot be shown here.)" in chat["content"]
    assert "b.pdf" in chat["content"]


def test_a_file_is_read_opened_and_has_a_path(message: Message) -> None:
    file = message.files[2]

    assert (file.read(), file.path.name) == (b"x,y\n", "c.csv")
    with file.open() as content:
        assert content.read() == b"x,y\n"
    assert file.as_fields() == {"id": ID, "name": "c.csv", "type": "text/csv", "size": 4}


def test_without_a_server_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRANCHLINE_RUN_TOKEN", raising=False)

    with pytest.raises(Failure, match="no server"):
        File({"id": ID, "name": "a.txt"}).read()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTT", id="in-the-status"),
        pytest.param(b"nothing of HTTP\r\n\r\n", id="no-http"),
        pytest.param(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"fi', id="in-the-body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{", id="in-a-chunk"),
        pytest.param(b'HTTP/1.1 503 Away\r\nContent-Length: 100\r\n\r\n{"de', id="in-an-error"),
    ],
)
def test_an_answer_of_the_api_that_is_cut_off_has_the_run_tried_again(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setenv("BRANCHLINE_RUN_TOKEN", "t0ken")
    for use in (File({"id": ID, "name": "a.txt", "size": 100}).read, lambda: make("a.txt", b"x", None)):
        with answering(answer) as url:
            monkeypatch.setenv("BRANCHLINE_API_URL", url)
            with pytest.raises(Failure) as failed:
                use()
        assert failed.value.retryable


def test_what_is_made_without_a_server_is_kept_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BRANCHLINE_RUN_TOKEN", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "source").write_bytes(b"x,y")

    made = [make("a.csv", content, None) for content in (b"x,y", tmp_path / "source")]

    assert [(file.name, file.type, file.size, file.read()) for file in made] == [
        ("a.csv", "text/csv", 3, b"x,y")
    ] * 2
    assert str(made[0].path) in capfd.readouterr().err


def test_a_message_of_a_worker_names_files_by_their_ids() -> None:
    line: dict[str, Any] = {"type": "message", "content": "x"}

    assert decode({**line, "files": [ID.upper(), {"id": ID}]}).files == [ID]  # type: ignore[union-attr]
    assert decode(line).files == []  # type: ignore[union-attr]
    for wrong in ("x", ["x"], [1], [ID] * 21):
        with pytest.raises(ProtocolError):
            decode({**line, "files": wrong})
