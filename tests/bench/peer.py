"""Glance, upstream's own (`tests.glance`), as it is measured."""

import contextlib
import subprocess
from collections.abc import Iterator

import psutil

from tests import glance
from tests.bench import ground
from tests.bench.client import Client
from tests.bench.contender import Contender

_CONF = """
[image_import_opts]
image_import_plugins = [{plugins}]
[image_conversion]
output_format = qcow2
"""


@contextlib.contextmanager
def running(base: ground.Ground, *, converts: bool) -> Iterator[Contender]:
    """A Glance that converts what it imports to qcow2, or does not."""
    state = base.room / "glance"
    for name in ("fast", "staging", "tasks"):
        (state / name).mkdir(parents=True, exist_ok=True)
    own = _CONF.format(plugins="image_conversion" if converts else "")
    options = base.options("glance", state) + own
    engine = base.engine("glance")
    try:
        with glance.running(state, options, processes=2) as (url, process):
            yield Contender(
                name="glance",
                client=Client(url, base.identity.admin_token),
                member=Client(url, base.member_token),
                engine=engine,
                groups={"api": psutil.Process(process.pid), "database": base.database_top},
                importers="api",
            )
    finally:
        engine.dispose()


def version() -> str:
    """The one that is installed."""
    program = "from importlib import metadata; print(metadata.version('glance'))"
    command = [str(glance.VENV / "bin/python"), "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
