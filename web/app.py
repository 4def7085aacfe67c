"""The Flask app, put together."""

from __future__ import annotations

from flask import Flask

from runtime import settings as settings_module
from runtime.settings import Settings
from web import pages
from web.api import (
    accounts,
    body_limits,
    claims,
    events,
    files,
    queued_messages,
    runs,
    states,
    threads,
    trash,
    worker_api,
    worker_requests,
    workers,
)
from web.api.openapi import Api
from web.core import Core
from web.http import base_path, problems, request_ids, responses
from web.http.cors import Origins
from web.http.hosts import Hosts
from web.http.proxies import TrustedProxies
from web.http.rules import Rule
from web.knowledge import service as knowledge
from web.knowledge import views as knowledge_views
from web.knowledge import worker_views as knowledge_of_runs
from web.ops import health
from web.panel import views as panel_views
from web.panel.entrance import Entrance
from web.security import auth
from web.sessions import views as session_views
from web.systems import views as system_views


def create_app(settings: Settings | None = None) -> Flask:
    """The app. ``settings``: this process's own if None. Connects to nothing."""
    settings = settings or settings_module.current()
    app = Flask("web", static_folder="assets", static_url_path="/static")
    app.url_rule_class = Rule
    app.url_map.strict_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # OPTIONS would answer without authentication
    Core(settings).init_app(app)
    request_ids.init_app(app)
    Hosts.of(settings).init_app(app)
    Entrance.init_app(app, app.extensions["branchline"])
    knowledge.init_app(app, app.extensions["branchline"])
    if settings.base_path:
        base_path.init_app(app, settings.base_path)
    if origins := settings.panel_origins:
        Origins(origins).init_app(app)
    body_limits.init_app(app, settings.web.max_body, settings.files.max_size)
    responses.init_app(app, tls_only=settings.security.cookie_secure)
    auth.init_app(app, settings)
    health.init_app(app)
    app.register_blueprint(health.views)
    _register_api(app)
    app.register_blueprint(pages.pages)
    problems.init_app(app)
    if proxies := settings.web.trusted_proxies:
        app.wsgi_app = TrustedProxies(app.wsgi_app, proxies)  # type: ignore[method-assign]
    return app


def _register_api(app: Flask) -> None:
    api = Api(app)
    for blueprint in (
        accounts.entrance,
        accounts.account,
        workers.workers,
        threads.views,
        trash.views,
        files.views,
        states.tree,
        states.views,
        runs.on_thread,
        runs.views,
        queued_messages.views,
        session_views.views,
        panel_views.views,
        knowledge_views.views,
        system_views.views,
        events.streams,
        worker_api.worker_api,
        worker_requests.views,
        knowledge_of_runs.views,
        claims.views,
    ):
        api.register_blueprint(blueprint)
