"""States: the tree of a thread, its nodes, and the history that leads to one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Response, url_for
from marshmallow import fields

from runtime.dispatch import after_commit
from runtime.model import Json, State, encode_time
from runtime.store import files, runs, states, threads
from web.api import body_limits
from web.api.openapi import Blueprint
from web.api.schemas import inputs, outputs, queries
from web.core import core
from web.http.responses import json_response, unless_known, with_etag
from web.security import auth

tree = Blueprint(
    "tree", __name__, url_prefix="/api/threads/<id:thread_id>/states", description="A thread's tree"
)
tree.before_request(auth.sign_in_required)
tree.before_request(body_limits.enter_lane)
views = Blueprint("states", __name__, url_prefix="/api/states", description="The nodes of a tree")
views.before_request(auth.sign_in_required)

_StateAnswer = outputs.wrapped("StateAnswer", state=outputs.State)
_StateWithData = outputs.wrapped("StateWithDataAnswer", state=outputs.StateWithData)
_History = outputs.wrapped(
    "History",
    items=[outputs.Message],
    next=fields.String(allow_none=True, metadata={"description": "cursor of the earlier history"}),
    states=outputs.sibling_positions(),
    runs=fields.List(fields.Nested(outputs.Run), metadata={"optional": True}),
    steps=outputs.step_counts(optional=True),
)


@tree.route("")
@tree.arguments(queries.TreeQuery, location="query")
@tree.response(200, {"oneOf": [outputs.page_of(outputs.TreeNode), outputs.Structure]})
def list_states(given: dict[str, Any], thread_id: str) -> Response:
    """The tree, oldest state first; with `structure=1` ids and parents only, all at once."""
    workspace_id = auth.current_user().workspace_id
    if given.pop("structure"):
        return _structure(workspace_id, thread_id)
    page = core.database.read(states.tree, workspace_id, thread_id, **given)
    return with_etag(json_response({"items": [_node(node) for node in page.items], "next": page.next}))


@tree.route("", methods=["POST"])
@tree.arguments(inputs.NewState)
@tree.response(201, _StateAnswer)
def add_state(given: dict[str, Any], thread_id: str) -> Response:
    """Add a state below another, without a run.

    409 while the run that fills the parent has not ended.
    """
    workspace_id = auth.current_user().workspace_id

    def add(c: Any) -> State:
        threads.get(c, workspace_id, thread_id)
        new = files.name(c, workspace_id, thread_id, given["messages"])
        return states.add(c, thread_id=thread_id, parent_id=given["parent_id"], messages=new)[0]

    state = core.database.write(add)
    after_commit(core.announcer.state, state)
    where = url_for("states.get_state", state_id=state.id)
    return json_response({"state": state.encode()}, 201, Location=where)


@views.route("/<id:state_id>")
@views.response(200, _StateWithData)
def get_state(state_id: str) -> Response:
    """One state with its messages, and the data that the next worker is given there."""
    which = auth.current_user().workspace_id, state_id

    def read(c: Any) -> tuple[State, Json]:
        return states.get(c, *which), states.data(c, *which)

    state, data = core.database.read(read)
    return json_response({"state": {**state.encode(), "data": data}})


@views.route("/<id:state_id>", methods=["PATCH"])
@views.arguments(inputs.StateChanges)
@views.response(200, _StateAnswer)
def update_state(given: dict[str, Any], state_id: str) -> Response:
    """Label a state, or star it."""
    state = core.database.write(states.update, auth.current_user().workspace_id, state_id, **given)
    after_commit(core.announcer.marked, state)
    return json_response({"state": state.encode()})


@views.route("/<id:state_id>/messages")
@views.arguments(queries.HistoryQuery, location="query")
@views.response(200, _History)
def list_messages(given: dict[str, Any], state_id: str) -> Response:
    """The history from the root to a state: its newest window, oldest message first."""
    workspace_id, with_runs = auth.current_user().workspace_id, given.pop("runs")

    def read(c: Any) -> dict[str, Json]:
        history = states.history(c, workspace_id, state_id, **given)
        items = [message.encode() for message in history.items]
        shown = {"items": items, "next": history.next, "states": history.states}
        return {**shown, **_runs(c, history.states)} if with_runs else shown

    return json_response(core.database.read(read))


def _runs(c: Any, state_ids: Iterable[str]) -> dict[str, Json]:
    """The runs that fill these states, and how many steps each has reported."""
    filling = runs.of_states(c, state_ids)
    counts = runs.step_counts(c, [run.id for run in filling])
    return {"runs": [run.encode() for run in filling], "steps": counts}


def _structure(workspace_id: str, thread_id: str) -> Response:
    """The structure, tagged with the id of the thread's latest state.

    States are only ever added, and each becomes the latest, so the tree has not changed
    while that id has not. The id is read before the tree: a state that is added in
    between makes the tag too old, which only costs the client another request.
    """
    latest = core.database.engine.get_thread(workspace_id, thread_id).latest_state_id
    return unless_known(
        latest, lambda: json_response(core.database.read(states.structure, workspace_id, thread_id))
    )


def _node(node: dict[str, Json]) -> dict[str, Json]:
    return {**node, "created_at": encode_time(node["created_at"])}
