"""Claims: a machine elsewhere asks for a run of a pool, and waits until it is given one.

The request leaves an offer. A pool process takes it, claims a run, and leaves the run here; whatever
the machine does with it then goes by the Worker API, with the run's token.
"""

from __future__ import annotations

import time
from typing import Any

import gevent
import orjson
from flask import Response, request
from marshmallow import fields

from runtime.errors import NotFound, Unauthenticated
from runtime.store import pool_tokens
from web.api.openapi import Blueprint
from web.api.schemas import inputs, outputs
from web.core import core
from web.http import gunicorn
from web.http.disconnects import disconnected
from web.http.responses import json_response

views = Blueprint(
    "claims",
    __name__,
    url_prefix="/worker/pools/<pool>/claims",
    security=("pool",),
    description="For machines that execute the runs of a pool",
)

HOLDS = 3.0
"""Seconds for which an offer holds; it is prolonged while its request waits."""
_PROLONGED_EVERY = 1.0
_PAUSE = 0.05
"""Seconds between two looks whether a run was given."""
_TAKEN = 5.0
"""Seconds more that a request waits whose offer was taken when its time was over."""

_Claim = outputs.wrapped(
    "Claim",
    claim=fields.Raw(
        metadata={
            "type": ["object", "null"],
            "description": "`run_id`, its `token`, `line`: what its worker reads first, and `lease`: for how "
            "many seconds the machine may be out of contact. null: there was no run",
        }
    ),
)


@views.before_request
def pool_token_required() -> None:
    """Authenticate the machine."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    pool = core.database.write(pool_tokens.pool_of, secret.strip()) if scheme.lower() == "bearer" else None
    if pool is None:
        raise Unauthenticated("The pool token is not valid. `branchline token create --pool NAME` makes one.")
    if pool != (request.view_args or {})["pool"]:
        raise NotFound("The token is for another pool.")


@views.route("", methods=["POST"])
@views.arguments(inputs.NewClaim)
@views.response(200, _Claim)
def claim_run(given: dict[str, Any], pool: str) -> Response:
    """Ask for a run of the pool, and wait for it.

    `offer` is a random text of yours: a request that may have failed, sent again with the same one,
    has the run that it would have had. Take another one after each answer. With a `wait` of 0 the
    offer ends, also where another request waits with it: what was given for it already is answered,
    and no run is given for it later.
    """
    claim = _wait_for_claim(pool, given["offer"], given["wait"])
    return json_response({"claim": claim and orjson.Fragment(claim)})


def _wait_for_claim(pool: str, offer: str, seconds: float) -> bytes | None:
    """The run that is given; None where there is none in time, or the machine has gone."""
    connection = gunicorn.socket_of(request.environ)
    withdraw = core.offers.withdraw if seconds else core.offers.end
    until, prolong_at = time.monotonic() + seconds, 0.0
    while (claim := core.offers.handed_over(pool, offer)) is None:
        now = time.monotonic()
        over = now >= until or core.stopping or disconnected(connection)
        if over and (withdraw(pool, offer) or now >= until + _TAKEN):
            return None
        if not over and now >= prolong_at:
            if not core.offers.make(pool, offer, HOLDS):
                return None
            prolong_at = now + _PROLONGED_EVERY
        gevent.sleep(_PAUSE)
    return claim
