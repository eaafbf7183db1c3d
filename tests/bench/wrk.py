"""Requests a second by wrk, a client in C: on two cores one in Python would measure itself."""

import dataclasses
import json
import pathlib
import re
import subprocess
import tempfile
from typing import Any

from tests.bench.client import Client
from tests.bench.trouble import Trouble

#: What wrk is told beside the command line, and how it reports: in microseconds.
_SCRIPT = """
wrk.method = "{method}"
wrk.body = {body}
wrk.headers["X-Auth-Token"] = "{token}"
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('REPORT{{"requests":%d,"us":%d,"p50":%f,"p99":%f,"bad":%d}}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    e.status + e.connect + e.read + e.write + e.timeout))
end
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What came out of one run."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def ask(
    client: Client, path: str, *, seconds: int, connections: int = 8, body: str | None = None
) -> Report:
    """Send one request over and over: GET, or POST where there is a body.

    wrk keeps its connections where the service lets it, and makes new ones where it does not.

    Raises:
        Trouble: a request was refused or broke.
    """
    found = _asked(client, path, seconds, connections, body)
    if found["bad"] or not found["requests"]:
        raise Trouble(f"{path}: of {found['requests']} answers {found['bad']} were no success")
    return Report(found["requests"], found["us"] / 1e6, found["p50"] / 1e3, found["p99"] / 1e3)


def warm(client: Client, path: str, *, seconds: int = 1, body: str | None = None) -> None:
    """Let a service do what it does once, before it is measured."""
    _asked(client, path, seconds, 8, body)


def _asked(
    client: Client, path: str, seconds: int, connections: int, body: str | None
) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            _SCRIPT.format(
                method="POST" if body else "GET",
                body=f"[[{body}]]" if body else "nil",
                token=client.token,
            )
        )
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s"]
        found: dict[str, Any] = json.loads(_run([*command, "-s", script.name, client.url + path]))
    return found


def _run(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    report = re.search(r"REPORT(.*)", ended.stdout)
    if ended.returncode or report is None:
        raise Trouble(f"{pathlib.Path(command[0]).name}: {ended.stdout}{ended.stderr}")
    return report[1]
