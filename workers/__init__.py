"""Where work runs: Celery's app for `celery -A workers.app`, its jobs, and the schedule. No web."""
