"""A real Glance for one test that believes in its callers' headers, and can be started again and again."""

import contextlib
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import urllib3

from tests import glance, service

#: Headers: what Keystone's middleware would say of an administrator.
CALLER = {
    "X-Identity-Status": "Confirmed",
    "X-User-Id": "demo",
    "X-Project-Id": "demo",
    "X-Roles": "admin,member,reader",
}
#: Upstream's pipeline with Keystone, without the part that asks Keystone.
_PASTE = """[composite:glance-api]
paste.composite_factory = glance.api:root_app_factory
/: api
[composite:api]
paste.composite_factory = glance.api:pipeline_factory
default = versionnegotiation context rootapp
[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app
[app:apiversions]
paste.app_factory = glance.api.versions:create_resource
[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory
[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
"""
#: While one is busy with an upload, and one with an import, there is one more to ask.
_PROCESSES = 3


class Glance:
    """A Glance on a directory of its own, with the same options (`options`, a file's text) as ours."""

    def __init__(self, room: pathlib.Path, options: str) -> None:
        self.room = room
        self.url = ""
        self._options = options
        self._http = urllib3.PoolManager(retries=False, timeout=service.PATIENCE)
        room.mkdir()
        (room / "paste.ini").write_text(_PASTE)

    def manage(self, *words: str) -> str:
        """What `glance-manage` says, once Glance has been running."""
        program, file = glance.VENV / "bin/glance-manage", self.room / "glance-api.conf"
        command = [str(program), "--config-file", str(file), *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Makes or upgrades its tables, serves inside the block, and is killed (kill -9) at its end."""
        paste = self.room / "paste.ini"
        with glance.running(self.room, self._options, processes=_PROCESSES, paste=paste) as (
            url,
            _,
        ):
            self.url = url
            yield

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """One request of an administrator; a dict or list goes as JSON, bytes as they are."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return service.request(self._http, method, self.url + path, body, CALLER | named)
