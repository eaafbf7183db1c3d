"""The operators' commands, run in this process on a test's own configuration."""

import contextlib
import dataclasses
import io
import logging
import pathlib

from images.commands import main

_NAMES = {
    "gantry": main.main,
    "glance-manage": main.glance_manage,
    "glance-scrubber": main.glance_scrubber,
    "glance-status": main.glance_status,
}


@dataclasses.dataclass
class Ended:
    """What a command has said, and its exit status."""

    code: int
    out: str
    err: str


def run(file: pathlib.Path | None, line: str, *words: str) -> Ended:
    """Run `line` (and `words` that may hold spaces), with this configuration file where there is one."""
    name, *rest = [*line.split(), *words]
    named = ["--config-file", str(file)] if file else []
    out, err = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(err)
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = _NAMES[name]([*named, *rest])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        err.write("" if isinstance(ended.code, int) else str(ended.code))
    finally:
        logging.getLogger().removeHandler(handler)
    return Ended(code, out.getvalue(), err.getvalue())
