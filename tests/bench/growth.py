"""Gantry alone on PostgreSQL: what requests cost with more images, and imports with larger ones."""

import argparse
import time

from tests.bench import catalog, cost, ground, machine, ours, table, wrk
from tests.bench.client import Client
from tests.bench.contender import Contender
from tests.bench.rows import Row, Rows
from tests.bench.scene import Scene, costs
from tests.bench.trouble import Trouble

_IMAGES = (1_000, 10_000, 100_000, 1_000_000)
_MIBS = (64, 256, 1024, 4096, 16384)
#: The file itself, and the image of one import, with some room to spare.
_FILES = 3
_LIST = "/v2/images?limit=25"
_NAME = "gantry"

#: Requests by their names; the path of the last page depends on what is there.
_LAST = "last page"
_REQUESTS = {
    "get": f"/v2/images/{catalog.image_id(1)}",
    "list (first page)": _LIST,
    _LAST: "",
    **{f"filter-{name}": f"{_LIST}&{query}" for name, query in catalog.FILTERS.items()},
}


def run(asked: argparse.Namespace) -> int:
    """Measure both kinds of growth and print a table of each."""
    images = [one for one in _IMAGES if one <= asked.most_images]
    mibs = [one for one in _MIBS if one <= asked.most_gib * 1024]
    ground.require(".venv-keystone")
    rows, began = Rows(asked.rows), time.monotonic()
    about = machine.describe(asked.place, has_peer=False)
    rows.write(about)
    print(machine.text(about), flush=True)
    with (
        ground.laid("postgresql", asked.place, max(mibs, default=1), files=_FILES) as base,
        ground.unbroken_end(),
    ):
        troubles: list[Trouble] = []
        scene = Scene(base, max(mibs, default=1), asked.seconds)
        with ours.running(base, converts=False) as gantry:
            _bring_in(gantry.client, gantry.client.create(), scene, 1)  # the first one takes longer
            for mib in mibs:
                _import(gantry, scene, mib, rows)
            for count in images:
                troubles += _ask(gantry, scene, count, rows)
    print(f"\n{_imports_table(mibs, rows)}\n\n{_requests_table(images, rows)}")
    print(f"\nin {time.monotonic() - began:.0f} s; rows: {rows.file}")
    return 1 if troubles else 0


# Larger images


def _import(gantry: Contender, scene: Scene, mib: int, rows: Rows) -> None:
    """glance-direct of the first so many MiB of the file."""
    print(f"  import of {mib:,} MiB", end="", flush=True)
    cost.forget_peaks([*gantry.importing(), *gantry.serving()])
    image = gantry.client.create()
    with gantry.meter() as meter:
        _bring_in(gantry.client, image, scene, mib)
    gantry.client.delete(image)
    row = costs(meter) | {
        "seconds_per_gib": round(meter.seconds / mib * 1024, 3),
        "peak_mib": cost.peak_mib(gantry.importing()),
        "api_peak_mib": cost.peak_mib(gantry.serving()),
    }
    print(f": {row['seconds_per_gib']:.2f} s a GiB", flush=True)
    rows.add({"work": f"import-{mib}", "service": _NAME, "run": 1, "mib": mib} | row)


def _bring_in(client: Client, image: str, scene: Scene, mib: int) -> None:
    client.upload(f"/v2/images/{image}/stage", scene.file, mib << 20)
    client.begin_import(image, name="glance-direct")
    client.wait_active(image)


def _imports_table(mibs: list[int], rows: Rows) -> str:
    head = ("import, MiB", "s a GiB", "CPU s a GiB", "worker MiB", "API MiB", "others, cores")
    return table.aligned(head, [_import_line(rows.of(f"import-{m}", _NAME)[0]) for m in mibs])


def _import_line(row: Row) -> list[str]:
    used = sum(value for group, value in row["cpu"].items() if group != "database")
    per_gib = used / row["mib"] * 1024
    figures = (row["seconds_per_gib"], per_gib, row["peak_mib"], row["api_peak_mib"])
    return [f"{row['mib']:,}", *map(table.number, figures), f"{row['noise_cores']:.1f}"]


# More images


def _ask(gantry: Contender, scene: Scene, count: int, rows: Rows) -> list[Trouble]:
    """Every request with so many images; what could not be measured is returned."""
    scene.fill(gantry, count)
    troubles = []
    for name, path in _REQUESTS.items():
        try:
            row = _request(gantry, path or _last_page(gantry.client), scene.seconds)
        except Trouble as error:
            troubles.append(Trouble(f"{name} with {count:,} images: {error}"))
            print(f"  {troubles[-1]}", flush=True)
            continue
        print(f"  {count:9,} images {name:18} {row['p50_ms']:9.2f} ms", flush=True)
        rows.add({"work": name, "service": _NAME, "run": 1, "images": count} | row)
    return troubles


def _request(gantry: Contender, path: str, seconds: int) -> Row:
    """One client asks over and over: its median is what a user waits."""
    wrk.warm(gantry.client, path)
    with gantry.meter() as meter:
        report = wrk.ask(gantry.client, path, seconds=seconds, connections=1)
    return costs(meter) | {"requests": report.requests, "p50_ms": round(report.p50_ms, 2)}


def _last_page(client: Client) -> str:
    """The page of the oldest images that a list shows."""
    oldest = client.do("GET", f"{_LIST}&sort=created_at:asc,id:asc")["images"]
    return f"{_LIST}&marker={oldest[-1]['id']}"


def _requests_table(images: list[int], rows: Rows) -> str:
    head = ("median ms / API CPU ms / database CPU ms", *(f"{count:,}" for count in images))
    lines = [(name, *(_cell(rows, name, count) for count in images)) for name in _REQUESTS]
    return table.aligned(head, lines) if images else ""


def _cell(rows: Rows, name: str, count: int) -> str:
    for row in rows.of(name, _NAME):
        if row["images"] == count:
            cpu = [row["cpu"][group] / row["requests"] * 1000 for group in ("api", "database")]
            return " / ".join(f"{value:.2f}" for value in (row["p50_ms"], *cpu))
    return ""
