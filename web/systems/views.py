"""Systems of agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response

from runtime.model import Json
from runtime.store import Connection
from runtime.systems import store
from runtime.systems.definition import Definition, Kind
from runtime.systems.model import Entity, MessageStatus, System
from runtime.systems.service import Systems
from web.api import body_limits
from web.api.openapi import Blueprint
from web.api.schemas import outputs
from web.core import core
from web.http.responses import json_response, no_content
from web.security import auth
from web.systems import schemas

views = Blueprint(
    "systems",
    __name__,
    url_prefix="/api/systems",
    description="Systems of agents that send each other messages",
)
views.before_request(auth.sign_in_required)
views.before_request(body_limits.enter_lane)


@views.route("/check", methods=["POST"])
@views.arguments(schemas.SystemDefinition)
@views.response(200, schemas.PROBLEMS)
def check_system(given: dict[str, Any]) -> Response:
    """What is wrong with the definition of a system, errors first; 100 problems at most.

    Its form is checked as that of any body is (422).
    """
    found = _systems().check(auth.current_user(), Definition.decode(given))
    return json_response({"problems": [problem.encode() for problem in found]})


@views.route("", methods=["POST"])
@views.arguments(schemas.SystemDefinition)
@views.response(201, schemas.SYSTEM)
def create_system(given: dict[str, Any]) -> Response:
    """Start a system. 422 where the check of its definition finds an error; warnings are none.

    You may have 100 systems.
    """
    made = _systems().create(auth.current_user(), given)
    return json_response({"system": _encoded(made)}, 201)


@views.route("")
@views.arguments(schemas.SystemsQuery, location="query")
@views.response(200, outputs.page_of(schemas.SystemSummary))
def list_systems(given: dict[str, Any]) -> Response:
    """Your systems, newest first."""
    page = core.database.read(store.listing, auth.current_user().workspace_id, **given)
    return json_response({"items": [system.encode() for system in page.items], "next": page.next})


@views.route("/<id:system_id>")
@views.response(200, schemas.SYSTEM)
def get_system(system_id: str) -> Response:
    """One system, with its entities."""
    return json_response({"system": _encoded(_found(system_id))})


@views.route("/<id:system_id>", methods=["DELETE"])
@views.response(204)
def delete_system(system_id: str) -> Response:
    """Delete a system with its messages, and the threads of its entities. What runs is cancelled."""
    _systems().delete(auth.current_user(), system_id)
    return no_content()


@views.route("/<id:system_id>/stop", methods=["POST"])
@views.arguments(schemas.StopSystem)
@views.response(200, schemas.SYSTEM)
def stop_system(given: dict[str, Any], system_id: str) -> Response:
    """Take no more messages from outside. It is `stopping` until all that is under way has ended.

    With `drain: false` it is stopped at once: what runs is cancelled, and what waits becomes a dead letter.
    """
    stopped = _systems().stop(auth.current_user(), system_id, drain=given["drain"])
    return json_response({"system": _encoded(stopped)})


@views.route("/<id:system_id>/messages", methods=["POST"])
@views.arguments(schemas.NewSystemMessage)
@views.response(202, schemas.MESSAGE)
def send_to_entity(given: dict[str, Any], system_id: str) -> Response:
    """Send a message to an entity. 409 if the system is stopped, 429 if the mailbox is full.

    And 429 where 10,000 messages of the system are under way.
    """
    body = {"content": given["body"]["content"], "data": given["body"]["data"]}
    accepted, entities = _systems().send(
        auth.current_user(), system_id, **{**given, "kind": Kind(given["kind"]), "body": body}
    )
    return json_response({"message": accepted.encode(_names(entities))}, 202)


@views.route("/<id:system_id>/messages/<id:message_id>")
@views.response(200, schemas.STORY)
def get_system_message(system_id: str, message_id: str) -> Response:
    """A message, and all that it has caused, oldest first; 1,000 messages and 16 MiB at most."""
    system = _found(system_id)

    def read(c: Connection) -> dict[str, Json]:
        names = _names(store.entities_of(c, system.id))
        message = store.letter(c, system.id, message_id).encode(names)
        return {"message": message, "caused": [one.encode(names) for one in store.following(c, message_id)]}

    return json_response(core.database.read(read))


@views.route("/<id:system_id>/dead-letters")
@views.arguments(schemas.DeadLettersQuery, location="query")
@views.response(200, outputs.page_of(schemas.SystemMessage))
def list_dead_letters(given: dict[str, Any], system_id: str) -> Response:
    """The messages that could not be delivered, newest first, each with its reason."""
    system = _found(system_id)
    page = core.database.read(store.dead_letters, system.id, **given)
    names = _names(core.database.read(store.entities_of, system.id))
    return json_response({"items": [letter.encode(names) for letter in page.items], "next": page.next})


def _found(system_id: str) -> System:
    return core.database.read(store.get, auth.current_user().workspace_id, system_id)


def _encoded(system: System) -> dict[str, Json]:
    def read(c: Connection) -> list[dict[str, Json]]:
        waiting = store.counts(c, system.id, MessageStatus.WAITING)
        working = store.counts(c, system.id, MessageStatus.WORKING)
        return [
            entity.encode(waiting.get(entity.id, 0), working.get(entity.id, 0))
            for entity in store.entities_of(c, system.id)
        ]

    return {**system.encode(), "entities": core.database.read(read)}


def _names(entities: Sequence[Entity]) -> dict[str, str]:
    return {entity.id: entity.name for entity in entities}


def _systems() -> Systems:
    return Systems(core.dispatcher, core.database)
