"""`python -m tests.fuzz`: atheris looks for files and requests on which the service breaks.

What breaks it is written to `var/fuzz` as `crash-…`, what takes very long as `slow-unit-…`; give that file's
name to see it again, and put what was found into `tests/unit/test_formats_fuzz.py` or
`tests/security/test_hostile_requests.py`.
"""

import argparse
import pathlib
import sys
import tempfile

import atheris

with atheris.instrument_imports(include=["api", "images", "oslo_utils.imageutils"]):
    from tests.fuzz import files, requests

TARGETS = {"files": files, "requests": requests}
FOUND = pathlib.Path("var/fuzz")


def main() -> None:
    """Fuzz one target; atheris ends the process, with 0 if nothing has broken."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS, help="the gate for files, or the API's parsers")
    parser.add_argument("--runs", type=int, default=-1, help="inputs to try (default: no limit)")
    parser.add_argument("--seconds", type=int, default=60, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("file", nargs="?", help="one input to try again, and no other")
    options = parser.parse_args()
    target = TARGETS[options.target]
    FOUND.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        room = pathlib.Path(place)
        seeds = room / "seeds"
        seeds.mkdir()
        target.prepare(room)
        for number, data in enumerate(target.seeds(room)):
            (seeds / str(number)).write_bytes(data)
        limits = [f"-max_total_time={options.seconds}", f"-max_len={target.LONGEST}", "-timeout=20"]
        runs = [f"-runs={options.runs}", f"-seed={options.seed}", f"-artifact_prefix={FOUND}/"]
        atheris.Setup([sys.argv[0], *runs, *limits, options.file or str(seeds)], target.test)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
