"""Systems of agents."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Response

from runtime.dispatch import NewThread, RunRequest
from runtime.model import Json, User
from runtime.systems.check import check
from runtime.systems.definition import Definition
from web.api import body_limits
from web.api.openapi import Blueprint
from web.core import core
from web.http.responses import json_response
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
    found = check(Definition.decode(given), partial(_prepare, auth.current_user()))
    return json_response({"problems": [problem.encode() for problem in found]})


def _prepare(user: User, worker_id: str, config: Mapping[str, Json]) -> None:
    core.dispatcher.prepare(user, NewThread(), RunRequest(worker_id=worker_id, config=config))
