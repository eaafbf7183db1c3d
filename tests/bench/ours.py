"""Gantry as `make run` starts it: gunicorn, one worker host with two processes, beat, Redis or Valkey."""

import contextlib
from collections.abc import Iterator

import psutil

from tests import service
from tests.bench import ground
from tests.bench.client import Client
from tests.bench.contender import Contender

_NAMES = ("api", "worker", "beat")


@contextlib.contextmanager
def running(base: ground.Ground, *, converts: bool) -> Iterator[Contender]:
    """A Gantry whose imports become qcow2, or raw (which raw files are)."""
    state = base.room / "gantry"
    state.mkdir(exist_ok=True)
    target = "qcow2" if converts else "raw"
    options = f"{base.options('gantry', state)}[image_conversion]\noutput_format = {target}\n"
    engine = base.engine("gantry")
    try:
        with service.running(state, *_NAMES, options=options) as whole:
            tops = {n: psutil.Process(p.pid) for n, p in whole.processes.items()}
            yield Contender(
                name="gantry",
                client=Client(whole.url, base.identity.admin_token),
                member=Client(whole.url, base.member_token),
                engine=engine,
                groups=tops | {"database": base.database_top},
                importers="worker",
            )
    finally:
        engine.dispose()
