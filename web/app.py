"""The Flask app, put together."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from runtime import settings as settings_module
from runtime.settings import Settings
from web import (
    accounts,
    answers,
    auth,
    errors,
    ops,
    pages,
    runs,
    states,
    stream,
    threads,
    worker_api,
    workers,
)
from web.core import Core
from web.openapi import Api


def create_app(settings: Settings | None = None) -> Flask:
    """The app; ``settings`` are this process's own if None. Connects to nothing."""
    settings = settings or settings_module.current()
    app = Flask("web", static_folder="assets", static_url_path="/static")
    app.url_map.strict_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # it would answer about what is not one's own
    app.config["MAX_CONTENT_LENGTH"] = settings.web.max_body
    Core(settings).init_app(app)
    answers.init_app(app, tls_only=settings.security.cookie_secure)
    auth.init_app(app, settings)
    ops.init_app(app)
    app.register_blueprint(ops.ops)
    _register_api(app)
    app.register_blueprint(pages.pages)
    errors.init_app(app)
    if proxies := settings.web.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    return app


def _register_api(app: Flask) -> None:
    api = Api(app)
    for blueprint in (
        accounts.entrance,
        accounts.account,
        workers.workers,
        threads.views,
        states.tree,
        states.views,
        runs.on_thread,
        runs.views,
        stream.streams,
        worker_api.worker_api,
    ):
        api.register_blueprint(blueprint)
