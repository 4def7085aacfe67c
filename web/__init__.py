"""The web process: the Thread API, its streams, and the Worker API over HTTP.

``web.app.create_app`` makes the app. It is not imported here: gunicorn's configuration
imports ``web.http.gunicorn`` before gevent has patched the process.
"""
