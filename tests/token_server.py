"""The two calls to Keystone that a client of Swift makes, answered with the tokens of Ceph's gateway itself.

The gateway is real, and so are its users, its tokens and what it refuses. This is where a token is
fetched: glance_store's options for Swift know no other way than Keystone's version 3.
"""

import contextlib
import datetime
import http.server
import json
from collections.abc import Iterator

import urllib3

from tests import web


class _Answers(http.server.BaseHTTPRequestHandler):
    """The first part of the path is the gateway's host: `/127.0.0.1:7480/v3/auth/tokens`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Which versions there are."""
        root = f"http://{self.headers['Host']}/{self.path.split('/')[1]}/v3/"
        link = {"rel": "self", "href": root}
        self._answer(200, {"version": {"id": "v3.14", "status": "stable", "links": [link]}}, {})

    def do_POST(self) -> None:
        """A token for a user's name and password, of the project in whose scope the user asks.

        Or for an application credential, whose id is project and user here (`glance:swift`).
        """
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["auth"]
        identity, gateway = asked["identity"], self.path.split("/")[1]
        if application := identity.get("application_credential"):
            (project, user), key = application["id"].split(":"), application["secret"]
        else:
            project = asked["scope"]["project"]["name"]
            user = identity["password"]["user"]["name"]
            key = identity["password"]["user"]["password"]
        headers = {"X-Auth-User": f"{project}:{user}", "X-Auth-Key": key}
        given = urllib3.request(
            "GET", f"http://{gateway}/auth/v1.0", headers=headers, retries=False
        )
        if given.status >= 400:
            refusal = {"code": 401, "title": "Unauthorized", "message": "not authorized"}
            self._answer(401, {"error": refusal}, {})
        else:
            token = given.headers["X-Auth-Token"]
            body = _token(given.headers["X-Storage-Url"], project, user)
            self._answer(201, body, {"X-Subject-Token": token})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: object, headers: dict[str, str]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _token(url: str, project: str, user: str) -> dict[str, object]:
    now, domain = datetime.datetime.now(datetime.UTC), {"id": "default", "name": "Default"}
    endpoint = {"id": "e", "interface": "public", "region": "r", "region_id": "r", "url": url}
    times = {
        "issued_at": f"{now:%Y-%m-%dT%H:%M:%S.000000Z}",
        "expires_at": f"{now + datetime.timedelta(hours=1):%Y-%m-%dT%H:%M:%S.000000Z}",
    }
    return {
        "token": {
            "methods": ["password"],
            "user": {"id": user, "name": user, "domain": domain},
            "project": {"id": project, "name": project, "domain": domain},
            "roles": [{"id": "member", "name": "member"}],
            "catalog": [
                {"id": "s", "type": "object-store", "name": "swift", "endpoints": [endpoint]}
            ],
            **times,
        }
    }


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Where it answers; append the gateway's host."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    with web.running(server):
        yield f"http://127.0.0.1:{server.server_port}"
