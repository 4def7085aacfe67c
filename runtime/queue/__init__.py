"""The queue: Celery's app, publishing to it, and announcing what was committed."""
