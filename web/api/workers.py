"""Workers: what can be asked to run, and whether it can now."""

from __future__ import annotations

from typing import Any

from flask import Response

from runtime.errors import NotFound, UnknownWorker
from runtime.registry import Manifest
from web.api.openapi import Blueprint
from web.api.schemas import outputs
from web.core import core
from web.http.responses import json_response
from web.security import auth

workers = Blueprint("workers", __name__, url_prefix="/api/workers", description="What can be asked to run")
workers.before_request(auth.sign_in_required)

_WorkerAnswer = outputs.wrapped("WorkerAnswer", worker=outputs.Worker)


@workers.route("")
@workers.response(200, outputs.page_of(outputs.Worker))
def list_workers() -> Response:
    """All workers, also those that are not available, with the reason."""
    core.catalogue.refresh()
    found = core.catalogue.workers.values()
    return json_response({"items": [_encode(worker) for worker in found], "next": None})


@workers.route("/<worker_id>")
@workers.response(200, _WorkerAnswer)
def get_worker(worker_id: str) -> Response:
    """One worker."""
    try:
        worker = core.catalogue.find(worker_id)
    except UnknownWorker:
        raise NotFound("There is no such worker.") from None
    return json_response({"worker": _encode(worker)})


def _encode(worker: Manifest) -> dict[str, Any]:
    availability = core.catalogue.availability(worker)
    return {
        "id": worker.id,
        "name": worker.name,
        "description": worker.description,
        "type": worker.type,
        "pool": worker.pool,
        "config_schema": worker.config_schema,
        "role": worker.role,
        "style": worker.style,
        "accepts": list(worker.accepts),
        "presets": [{"name": name, "config": config} for name, config in worker.presets.items()],
        "available": availability.available,
        "reason": availability.reason,
        "slots": availability.slots,
        "busy": availability.busy,
        "digest": worker.digest,
        "rejected": availability.rejected,
        "note": availability.note,
        "choices": availability.choices,
        "versions": [
            {"digest": version.digest, "processes": version.processes, "reason": version.reason}
            for version in availability.versions
        ],
    }
