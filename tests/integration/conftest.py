"""Fixtures of the integration tests."""

from tests.support.web import ada, app, bob, contract, core, nobody, web_environ, web_settings, worker_folder

__all__ = ["ada", "app", "bob", "contract", "core", "nobody", "web_environ", "web_settings", "worker_folder"]
