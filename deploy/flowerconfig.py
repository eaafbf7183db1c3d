"""Flower's settings (`celery -A workers.app flower --conf=deploy/flowerconfig.py`).

Environment: FLOWER_BASIC_AUTH (user:password, required), FLOWER_PORT (5555), FLOWER_ADDRESS (127.0.0.1).
The password comes from the environment because a command line can be read by every user of the machine.
Flower leaves two pages open whatever is set: /healthcheck and /metrics (names and durations of jobs).
"""

import os

_user, _, _password = os.environ.get("FLOWER_BASIC_AUTH", "").partition(":")
if not _user or not _password:
    raise SystemExit(
        "flower: will not start without a password: set FLOWER_BASIC_AUTH=user:password in its "
        "environment (`make run` makes one and keeps it in flower.password of the state directory)"
    )

address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
port = int(os.environ.get("FLOWER_PORT", "5555"))

# Flower is for looking: revoking or sending jobs from it would go past the row that decides.
read_only = True
# Jobs kept in memory; each is about 2 KB.
max_tasks = 10000
