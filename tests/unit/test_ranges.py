"""Which part of an image a request asks for (contract section 2.3)."""

import flask
import pytest

from api import ranges
from images import errors

SIZE = 100


def asked(header: str, value: str, size: int = SIZE) -> tuple[int, int] | None:
    app = flask.Flask("probe")
    with app.test_request_context(headers={header: value}):
        return ranges.asked(flask.request, size)


@pytest.mark.parametrize(
    ("header", "value", "part"),
    [
        ("Range", "bytes=0-0", (0, 0)),
        ("Range", "bytes=10-19", (10, 19)),
        ("Range", "bytes=10-", (10, 99)),
        ("Range", "bytes=-5", (95, 99)),
        ("Range", "bytes=-500", (0, 99)),
        ("Range", "bytes=90-500", (90, 99)),
        ("Range", "bytes=0-99999999999999999999999999", (0, 99)),
        ("Content-Range", "bytes 10-19/*", (10, 19)),
        ("Content-Range", "bytes 10-19/100", (10, 19)),
        ("X-Other", "bytes=1-2", None),
    ],
)
def test_parts(header: str, value: str, part: tuple[int, int] | None) -> None:
    assert asked(header, value) == part


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Range", "bytes=100-"),
        ("Range", "bytes=20-10"),
        ("Range", "bytes=-0"),
        ("Range", "bytes=-"),
        ("Range", "bytes=a-b"),
        ("Range", "bytes=1"),
        ("Range", "items=1-2"),
        ("Range", "bytes=1-2; x"),
        ("Range", "1-2"),
        ("Range", ""),
        ("Content-Range", "bytes */100"),
        ("Content-Range", "bytes=1-2"),
        ("Content-Range", "bytes 100-200/*"),
    ],
)
def test_no_part(header: str, value: str) -> None:
    with pytest.raises(errors.RangeNotSatisfiable):
        asked(header, value)


def test_several_parts_are_refused() -> None:
    with pytest.raises(errors.Invalid):
        asked("Range", "bytes=0-1,5-6")


def test_nothing_has_no_part() -> None:
    with pytest.raises(errors.RangeNotSatisfiable):
        asked("Range", "bytes=0-", size=0)
