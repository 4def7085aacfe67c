"""A thread with a session that is exported and imported: what was said travels, what is to come does not."""

from __future__ import annotations

import sqlalchemy as sa

from runtime.store import tables
from tests.support.session_talk import Talk
from tests.support.web import Client
from web.core import Core


def test_an_import_has_no_session_until_it_is_given_one_with_the_same_settings(
    ada: Client, core: Core
) -> None:
    talk = Talk(ada, core, auto={"enabled": True, "prompt": "And?"}, limits={"max_turns": 2}, window={"k": 7})
    talk.send("Map the tides.")
    talk.answer("one")
    talk.answer("two")
    before = talk.now()
    exported = ada.get(f"/api/threads/{talk.thread['id']}/export").json
    assert "session" not in exported

    imported = ada.post("/api/threads/import", json=exported)
    assert imported.status_code == 201, imported.text
    thread = imported.json["thread"]
    path = f"/api/threads/{thread['id']}/session"
    assert ada.get(path).status_code == 404
    with core.database.engine.connections.begin() as c:
        open_runs = sa.select(sa.func.count()).where(tables.runs.c.finished_at.is_(None))
        assert c.execute(open_runs).scalar_one() == 0

    settings = {name: before[name] for name in ("auto", "limits", "window")}
    made = ada.post(path, json=settings)
    assert made.status_code == 201, made.text
    session = made.json["session"]
    assert {name: session[name] for name in settings} == settings
    assert (session["status"], session["tip_state_id"]) == ("init", thread["latest_state_id"])
    said = ada.get(f"/api/states/{session['tip_state_id']}/messages").json["items"]
    assert [(one["author"], one["content"]) for one in said] == talk.said()
    assert [one["content"] for one in said if one["author"] == "auto"] == ["And?"]
