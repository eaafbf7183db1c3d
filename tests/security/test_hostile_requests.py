"""Whatever a request holds, it is answered, by what it deserves: never 500, and nothing of ours is told."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.conftest import Caller
from tests.security import making
from tests.security.making import DOORS, IMAGE, V21, Target, as_json


@pytest.fixture
def target(caller: Caller, tmp_path: pathlib.Path) -> Target:
    """For an administrator, who reaches most code."""
    lines = making.OPTIONS.format(room=tmp_path)
    return Target(caller(roles="admin,member,reader,service", options=lines), tmp_path)


@pytest.mark.parametrize("ask", making.ALL)
def test_what_hypothesis_makes_up(target: Target, ask: Callable[[Target], None]) -> None:
    ask(target)


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    """JSON that is nothing but depth."""
    return opening * depth + b"1" + closing * depth


#: Bodies that are no document, or one that nobody should have to read.
BODIES: list[bytes] = [
    nested(100_000, b"[", b"]"),
    nested(100_000, b'{"a":', b"}"),
    nested(33, b"[", b"]"),
    b"[" * 1_000_000,
    b'{"name": NaN}',
    b'{"min_disk": Infinity}',
    b'{"min_disk": 1e999}',
    b'{"min_disk": ' + b"9" * 5000 + b"}",
    b'{"min_disk": ' + b"9" * 400 + b"}",
    b'{"name": "\\ud800"}',
    b'{"name": "\\u0000"}',
    b'{"\\u0000": "x"}',
    b'{"name": "\xff"}',
    b"\xef\xbb\xbf{}",
    '{"name": "x"}'.encode("utf-16"),
    b"{}{}",
    b"",
    b"null",
    b'"x"',
    b"{" + b",".join(b'"p%d": "v"' % n for n in range(100_000)) + b"}",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_bodies(target: Target, body: bytes) -> None:
    """Refused at every door."""
    for method, path in DOORS:
        more: dict[str, Any] = {"CONTENT_TYPE": V21} if method == "PATCH" else {}
        assert 400 <= target.ask(method, path, body=body, **more).status_code < 500


def test_a_document_that_is_too_long(target: Target) -> None:
    """8 MiB are more than any record has; more is not read."""
    body = b'{"name": "' + b"x" * (9 << 20) + b'"}'
    for method, path in DOORS:
        more: dict[str, Any] = {"CONTENT_TYPE": V21} if method == "PATCH" else {}
        assert target.ask(method, path, body=body, **more).status_code == 413


def test_a_patch_that_is_too_long(target: Target) -> None:
    """50,000 properties would keep a process busy for minutes before their quota was asked."""
    changes = [{"op": "add", "path": f"/p{n}", "value": "x"} for n in range(1001)]
    path = f"/v2/images/{IMAGE}"
    assert target.ask("PATCH", path, body=as_json(changes), CONTENT_TYPE=V21).status_code == 413
    again = as_json([{"op": "add", "path": "/x", "value": str(n)} for n in range(1000)])
    assert target.ask("PATCH", path, body=again, CONTENT_TYPE=V21).status_code == 200


@pytest.mark.parametrize("text", making.MARKUP)
def test_markup_goes_through_unchanged(target: Target, text: str) -> None:
    making.check_markup(target, text)


@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/plain", "*/*"])
def test_markup_in_errors_is_harmless(target: Target, accept: str) -> None:
    """What a caller sent comes back escaped where it could be taken for a page."""
    script = "<script>alert(1)</script>"
    answer = target.ask("GET", "/v2/images", f"sort_key={script}", HTTP_ACCEPT=accept)
    assert answer.status_code == 400
    if str(answer.content_type).startswith("text/html"):
        assert b"<script>" not in answer.get_data()
        assert b"&lt;script&gt;" in answer.get_data()
