"""Requests that hypothesis makes up: never answered by 500, and nothing of ours is told.

The examples are always the same ones (`derandomize`). They are asked on SQLite by `test_hostile_requests`, on
PostgreSQL and MariaDB by `tests/integration/test_hostile_requests.py`.
"""

import io
import json
import pathlib
from collections.abc import Callable
from typing import Any

import hypothesis
import werkzeug
from hypothesis import strategies as st
from werkzeug import test

from tests.functional.conftest import Api

IMAGE = "1a2b3c4d-0000-4000-8000-000000000001"
V21 = "application/openstack-images-v2.1-json-patch"
V20 = "application/openstack-images-v2.0-json-patch"
#: What an answer never tells.
OURS = (
    "Traceback",
    'File "',
    "sqlalchemy",
    "sqlite3",
    "SELECT ",
    "INSERT ",
    "psycopg",
    "/site-packages/",
)

LISTS = ["/v2/images", "/v2/tasks", "/v2/metadefs/namespaces"]

SETTINGS = hypothesis.settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=150,
    suppress_health_check=list(hypothesis.HealthCheck),
)

#: Anything that fits into a header or a query as the servers hand it on: latin-1, without line ends.
RAW = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40)
#: Characters of every kind that make trouble, and texts of them.
ODD = st.text(
    st.sampled_from(
        "\0\x1f\x7f\u00e9\u200b\u202e\ud800\udfff\ufffe\U0001f600<>&'\"%;/\\ a1=:,.{}[]~"
    ),
    max_size=12,
)
NUMBERS = st.sampled_from(
    [0, -1, 1 << 31, 1 << 63, (1 << 63) - 1, -(1 << 63) - 1, 10**400, 1.5, 1e308, -0.0]
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, ODD, st.text(max_size=5))
JSON = st.recursive(
    LEAVES,
    lambda one: st.one_of(st.lists(one, max_size=4), st.dictionaries(ODD, one, max_size=4)),
    max_leaves=12,
)
MEMBERS = [
    *("name", "id", "disk_format", "container_format", "visibility", "min_disk", "min_ram", "tags"),
    *("protected", "os_hidden", "owner", "locations", "properties", "size", "status", "x", "self"),
    *("gantry_expected_checksum", "img_signature", "os_glance_x", "checksum", "member", "method"),
    *("stores", "all_stores", "type", "input", "url", "validation_data", "uri", "namespace"),
]
DOCUMENTS = st.one_of(JSON, st.dictionaries(st.one_of(st.sampled_from(MEMBERS), ODD), JSON))
SEGMENTS = st.one_of(
    st.sampled_from(
        [
            *("images", "tasks", "members", "tags", "file", "stage", "import", "locations"),
            *("metadefs", "namespaces", "objects", "properties", "resource_types", "stores"),
            *("schemas", "info", "usage", "actions", "deactivate", "image", "cache", IMAGE),
            *("..", ".", "%00", "x" * 300, "\xff\xfe", "\xed\xa0\x80", "\xf0\x9f\x98\x80", ""),
        ]
    ),
    RAW,
)
PATHS = st.lists(SEGMENTS, max_size=6).map(lambda parts: "/v2/" + "/".join(parts))
PARAMETERS = [
    *("limit", "marker", "sort", "sort_key", "sort_dir", "name", "id", "status", "size_min"),
    *("size_max", "created_at", "updated_at", "visibility", "member_status", "tag", "os_hidden"),
    *("protected", "checksum", "changes-since", "owner", "x", "type", "resource_types", "deleted"),
]
QUERIES = st.lists(st.tuples(st.one_of(st.sampled_from(PARAMETERS), RAW), RAW), max_size=5).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("ACCEPT", "ACCEPT_LANGUAGE", "RANGE", "CONTENT_RANGE", "X_OPENSTACK_REQUEST_ID"),
            *("X_IMAGE_META_STORE", "X_OPENSTACK_IMAGE_SIZE", "IF_MATCH", "IF_RANGE", "EXPECT"),
            *("HOST", "X_FORWARDED_FOR", "FORWARDED", "ORIGIN", "COOKIE", "AUTHORIZATION"),
            *("X_AUTH_TOKEN", "X_SERVICE_CATALOG", "X_ROLES", "TRANSFER_ENCODING", "X_HTTP_METHOD"),
        ]
    ).map("HTTP_{}".format),
    RAW,
    max_size=4,
)
KINDS = st.sampled_from([V20, V21, "application/json", "application/octet-stream", "", "\xff/\xfe"])
METHODS = st.sampled_from(
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "X"]
)


#: Options of the service, below [DEFAULT].
OPTIONS = """
enabled_backends = fast:file,web:http
show_multiple_locations = true
[fast]
filesystem_store_datadir = {room}/fast
[os_glance_staging_store]
filesystem_store_datadir = {room}/staging
[glance_store]
default_backend = fast
"""


class Target:
    """The service with an image that has data."""

    def __init__(self, api: Api, room: pathlib.Path) -> None:
        self.api, self.room = api, room
        api.create(id=IMAGE, disk_format="raw", container_format="bare", x="y", tags=["t"])
        assert api.put(IMAGE, b"data").status_code == 204

    def ask(self, method: str, path: str, query: str = "", **more: Any) -> werkzeug.Response:
        """A request as a server hands it on: bytes as latin-1."""
        environ = test.EnvironBuilder(method="GET").get_environ()
        body = more.pop("body", b"")
        environ |= {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)),
        }
        environ |= more
        found, status, headers = test.run_wsgi_app(self.api.application, environ, buffered=True)
        answer = werkzeug.Response(found, status, headers)
        self.check(answer)
        return answer

    def check(self, answer: werkzeug.Response) -> None:
        """It is not the server's fault, and holds nothing that is only ours."""
        assert answer.status_code < 500 or answer.status_code == 501, answer.get_data()
        said = answer.get_data().decode(errors="replace") + str(answer.headers)
        assert answer.status_code < 400 or str(self.room) not in said  # a location may name it
        assert not [word for word in OURS if word in said], said


def as_json(document: Any) -> bytes:
    """Lone surrogates go as they are: escaped."""
    return json.dumps(document).encode()


#: The places where a JSON document is read.
DOORS = [
    ("POST", "/v2/images"),
    ("PATCH", f"/v2/images/{IMAGE}"),
    ("POST", f"/v2/images/{IMAGE}/import"),
    ("POST", f"/v2/images/{IMAGE}/members"),
    ("PUT", f"/v2/images/{IMAGE}/members/x"),
    ("POST", f"/v2/images/{IMAGE}/locations"),
    ("POST", "/v2/tasks"),
    ("POST", "/v2/metadefs/namespaces"),
]


def patch_of(draw: Any) -> Any:
    """Something that looks like a patch."""
    names = st.one_of(st.sampled_from(MEMBERS), ODD)
    paths = st.one_of(names.map("/{}".format), names.map("/{}/0".format), ODD, JSON)
    change = st.fixed_dictionaries(
        {"op": st.one_of(st.sampled_from(["add", "replace", "remove"]), JSON), "path": paths},
        optional={"value": JSON, "from": ODD},
    )
    return draw(st.lists(change, max_size=4))


def documents(target: Target) -> None:
    """JSON of every kind at each door."""

    @SETTINGS
    @hypothesis.given(st.sampled_from(DOORS), DOCUMENTS, st.sampled_from([V21, V20]))
    def ask(door: tuple[str, str], document: Any, kind: str) -> None:
        more: dict[str, Any] = {"CONTENT_TYPE": kind} if door[0] == "PATCH" else {}
        target.ask(*door, body=as_json(document), **more)

    ask()


def patches(target: Target) -> None:
    """Changes of every member to anything."""

    @SETTINGS
    @hypothesis.given(st.composite(patch_of)())
    def ask(changes: Any) -> None:
        target.ask("PATCH", f"/v2/images/{IMAGE}", body=as_json(changes), CONTENT_TYPE=V21)

    ask()


def paths_and_queries(target: Target) -> None:
    """Bytes that are no UTF-8, endless segments, characters that no table holds."""

    @SETTINGS
    @hypothesis.given(METHODS, PATHS, QUERIES, HEADERS, st.binary(max_size=20), KINDS)
    def ask(
        method: str, path: str, query: str, headers: dict[str, str], body: bytes, kind: str
    ) -> None:
        target.ask(method, path, query, body=body, CONTENT_TYPE=kind, **headers)

    ask()


def lists(target: Target) -> None:
    """Filters, sort keys, markers, limits."""

    @SETTINGS
    @hypothesis.given(QUERIES)
    def ask(query: str) -> None:
        for path in LISTS:
            target.ask("GET", path, query)

    ask()


def parts_of_the_data(target: Target) -> None:
    """Range, and Content-Range as clients of old send it."""
    parts = st.one_of(
        RAW,
        st.from_regex(r"\Abytes[ =]-?[0-9]{0,25}-[0-9]{0,25}(/[0-9*]{0,25})?\Z"),
        st.sampled_from(["bytes=" + "9" * 5000 + "-", "bytes=-0", "bytes=3-1", "bytes=0-0,1-1"]),
    )

    @SETTINGS
    @hypothesis.given(st.sampled_from(["HTTP_RANGE", "HTTP_CONTENT_RANGE"]), parts)
    def ask(name: str, value: str) -> None:
        target.ask("GET", f"/v2/images/{IMAGE}/file", **{name: value})

    ask()


#: All of them.
ALL: list[Callable[[Target], None]] = [
    *(documents, patches, paths_and_queries, lists, parts_of_the_data)
]


MARKUP = [
    "<script>alert(1)</script>",
    "' OR 1=1; --",
    "$(touch /tmp/x)`id`;|&",
    "line\r\nX-Injected: yes",
    "\x1b[31mred\x07",
    "\u202ereversed\u200b",
    "{{7*7}} %s %n ${x}",
    "../../etc/passwd",
]


def check_markup(target: Target, text: str) -> None:
    """As a name, a property, its value and a tag; it does nothing on its way, headers least of all."""
    api = target.api
    image_id = api.create(name=text, tags=[text], **{"p": text, text: "value"})
    record = api.show(image_id)
    assert (record["name"], record["p"], record[text]) == (text, text, "value")
    assert record["tags"] == [text]
    found = api.ask("GET", "/v2/images", query_string={"name": f"eq:{text}"})
    assert found.status_code == 200, found.text
    assert [one["id"] for one in found.get_json()["images"]] == [image_id]
    assert found.content_type == "application/json"
    answer = api.ask("GET", f"/v2/images/{image_id}", headers={"X-Openstack-Request-Id": "a"})
    assert "X-Injected" not in answer.headers
