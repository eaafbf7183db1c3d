"""Which part of an image a request asks for (contract section 2.3)."""

import re

import flask

from images import errors

_RANGE = re.compile(r"bytes=(\d{0,400})-(\d{0,400})", re.ASCII)
_OLD_RANGE = re.compile(r"bytes (\d{1,400})-(\d{1,400})/(?:\*|\d{1,400})", re.ASCII)


def asked(request: flask.Request, size: int) -> tuple[int, int] | None:
    """The first and the last byte of the part, or None for the whole of `size` bytes.

    Raises:
        Invalid: several parts are asked for.
        RangeNotSatisfiable: the range cannot be understood, or lies outside.
    """
    text = request.headers.get("Range")
    if text is not None:
        if "," in text:
            raise errors.Invalid("Only one range can be asked for")
        found = _RANGE.fullmatch(text.strip())
    elif (text := request.headers.get("Content-Range")) is not None:
        found = _OLD_RANGE.fullmatch(text.strip())  # what clients of old sent instead of Range
    else:
        return None
    span = _span(found[1], found[2], size) if found else None
    if span is None:
        raise errors.RangeNotSatisfiable(f"The range {text} does not lie in {size} bytes")
    return span


def _span(first: str, last: str, size: int) -> tuple[int, int] | None:
    if not first:  # the last so many bytes
        length = min(int(last or 0), size)
        return (size - length, size - 1) if length else None
    start, end = int(first), min(int(last), size - 1) if last else size - 1
    return (start, end) if start <= end else None
