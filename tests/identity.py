"""The part of an identity service that a login needs, in no time; a test says what it answers.

`tests.keystone` is the real one, which takes seconds to start; tests/integration/test_glance_download.py
uses that.
"""

import contextlib
import datetime
import http.server
import json
from collections.abc import Iterator

from tests import web

PASSWORD = "the-services-own-password"


class Identity:
    """What the server says; a test may change it while it runs."""

    def __init__(self) -> None:
        self.url = ""
        #: What a login is answered; 201 gives a token.
        self.status = 201
        #: Seconds that the tokens are good for.
        self.lifetime = 3600
        #: Logins so far; the first one gets `service-token-1`.
        self.logins = 0

    def options(self) -> str:
        """The section [service_user] that logs in here."""
        return f"""[service_user]
send_service_user_token = true
auth_type = password
auth_url = {self.url}/v3
username = glance
password = {PASSWORD}
user_domain_id = default
project_name = service
project_domain_id = default
"""

    def versions(self) -> dict[str, object]:
        """What there is at the `auth_url`."""
        link = {"rel": "self", "href": f"{self.url}/v3/"}
        return {"version": {"id": "v3.14", "status": "stable", "links": [link]}}

    def login(self) -> dict[str, object]:
        """A token's document, or a refusal."""
        if self.status >= 400:
            return {"error": {"code": self.status, "title": "No", "message": "no token"}}
        self.logins += 1
        now, domain = datetime.datetime.now(datetime.UTC), {"id": "default", "name": "Default"}
        ends = now + datetime.timedelta(seconds=self.lifetime)
        return {
            "token": {
                "methods": ["password"],
                "user": {"id": "g", "name": "glance", "domain": domain},
                "issued_at": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
                "expires_at": f"{ends:%Y-%m-%dT%H:%M:%S.%fZ}",
            }
        }


@contextlib.contextmanager
def serving() -> Iterator[Identity]:
    """A running server whose tokens are good for an hour."""
    state = Identity()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(200, state.versions())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._say(state.status, state.login())

        def _say(self, status: int, document: object) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("X-Subject-Token", f"service-token-{state.logins}")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    with web.running(server):
        yield state
