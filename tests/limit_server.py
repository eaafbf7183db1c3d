"""The part of an identity service that limits are asked of: limits that a test sets, in no time.

`tests.keystone` is the real one, which takes seconds to start; the compat ring holds us against it.
"""

import contextlib
import http.server
import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

from keystoneauth1 import loading

from images import config
from tests import web

_EXPIRES = "2099-01-01T00:00:00.000000Z"


class LimitServer:
    """What the server says; a test may change it while it runs."""

    def __init__(self) -> None:
        self.url = ""
        #: Default limits by name.
        self.registered: dict[str, int] = {}
        #: A project's own limits by its id and their names.
        self.projects: dict[str, dict[str, int]] = {}
        #: Whether it answers every question with 500.
        self.broken = False
        #: Paths that were asked for.
        self.asked: list[str] = []

    def options(self) -> str:
        """Lines of a configuration file's [DEFAULT] and what follows."""
        return f"""use_keystone_limits = true
[oslo_limit]
auth_url = {self.url}/v3
auth_type = password
username = glance
password = secret
user_domain_id = default
system_scope = all
endpoint_id = images
"""

    def answer(self, path: str, query: dict[str, str]) -> Any:
        """The document behind a path, or None."""
        version = {
            "id": "v3.14",
            "status": "stable",
            "links": [{"rel": "self", "href": f"{self.url}/v3/"}],
            "media-types": [],
        }
        if path in ("", "/v3"):
            return {"version": version} if path else {"versions": {"values": [version]}}
        if path == "/v3/limits/model":
            return {"model": {"name": "flat", "description": ""}}
        if path == "/v3/endpoints/images":
            endpoint = {"id": "images", "service_id": "glance", "region_id": None}
            return {"endpoint": endpoint | {"interface": "public", "url": self.url}}
        if path == "/v3/registered_limits":
            return {"registered_limits": self._rows(self.registered, "default_limit")}
        if path == "/v3/limits":
            own = self.projects.get(query.get("project_id", ""), {})
            return {"limits": self._rows(own, "resource_limit")}
        return None

    def token(self) -> dict[str, Any]:
        """What a login is answered."""
        here = {"interface": "public", "url": f"{self.url}/v3", "region_id": "r", "region": "r"}
        return {
            "token": {
                "methods": ["password"],
                "expires_at": _EXPIRES,
                "issued_at": "2020-01-01T00:00:00.000000Z",
                "user": {"id": "u", "name": "glance", "domain": {"id": "default", "name": "D"}},
                "system": {"all": True},
                "roles": [{"id": "r", "name": "reader"}],
                "catalog": [{"type": "identity", "name": "k", "id": "k", "endpoints": [here]}],
            }
        }

    def _rows(self, limits: dict[str, int], column: str) -> list[dict[str, Any]]:
        where = {"service_id": "glance", "region_id": None}
        return [
            {"id": name, "resource_name": name, column: most} | where
            for name, most in limits.items()
        ]


@contextlib.contextmanager
def serving() -> Iterator[LimitServer]:
    """A running server without any limit."""
    state = LimitServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            state.asked.append(parts.path)
            document = state.answer(
                parts.path.rstrip("/"), dict(urllib.parse.parse_qsl(parts.query))
            )
            self._say(404 if document is None else 200, document)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._say(201, state.token())

        def _say(self, code: int, document: Any) -> None:
            data = json.dumps(document).encode()
            self.send_response(500 if state.broken else code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Subject-Token", "token")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        with web.running(server):
            yield state
    finally:
        # Once registered they are required, by the next test's configuration too.
        if "oslo_limit" in config.CONF:
            config.CONF.reset()
            login = loading.get_auth_plugin_conf_options("password")
            config.CONF.unregister_opts(login, group="oslo_limit")
