"""Reads a subunit stream on standard input, writes its tests as JSON; run by the Python that has subunit.

{"module.Class.test": {"status": "success|fail|skip|...", "why": "...", "seconds": 1.2}}
"""

import json
import sys
from typing import Any

import subunit  # type: ignore[import-not-found,unused-ignore]
import testtools  # type: ignore[import-not-found,unused-ignore]

_SAID_NOTHING = (None, "exists", "inprogress")
#: Lines of a failure's text that are kept; the assertion and the place are in the last ones.
_LINES = 12


def read() -> dict[str, Any]:
    """Every test of the stream; a class that was skipped or failed as a whole counts as one."""
    tests: dict[str, Any] = {}

    def ended(test: dict[str, Any]) -> None:
        if test["id"] is None or test["status"] in _SAID_NOTHING:
            return
        start, stop = test["timestamps"]
        tests[_name(test["id"])] = {
            "status": test["status"],
            "why": _why(test),
            "seconds": round((stop - start).total_seconds(), 2) if start and stop else None,
        }

    stream = subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout")
    result = testtools.StreamToDict(ended)
    result.startTestRun()
    stream.run(result)
    result.stopTestRun()
    return tests


def _name(said: str) -> str:
    """`module.Class.test` out of `module.Class.test[id-...]` and of `setUpClass (module.Class)`."""
    if said.startswith(("setUpClass (", "tearDownClass (")):
        return said.partition("(")[2].rstrip(")")
    name, _, rest = said.partition("[")
    return name + rest.partition("]")[2]


def _why(test: dict[str, Any]) -> str:
    texts = {
        name: content.as_text()
        for name, content in (test["details"] or {}).items()
        if content.content_type.type == "text"
    }
    if test["status"] == "skip":
        return str(texts.get("reason", "")).strip()
    trace = next((text for name, text in texts.items() if "traceback" in name), "")
    return "\n".join(str(trace).strip().splitlines()[-_LINES:])


if __name__ == "__main__":
    json.dump(read(), sys.stdout)
