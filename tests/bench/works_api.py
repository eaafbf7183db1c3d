"""Works of the API alone: requests a second, and what each costs."""

import json
import time

from tests.bench import bars, catalog, wrk
from tests.bench.bars import Bar
from tests.bench.contender import Contender
from tests.bench.rows import Row, Rows
from tests.bench.scene import Run, Scene, Work, costs

#: Images of the catalog, and those of the large one.
_IMAGES, _MANY = 10_000, 100_000
_LIST = "/v2/images?limit=25"
_CREATED = "created"
_BODY = json.dumps(
    {
        "name": _CREATED,
        "disk_format": "raw",
        "container_format": "bare",
        "tags": ["bench"],
        "hw_disk_bus": "virtio",
        "os_distro": "debian",
    }
)


def _requests(path: str, *, as_member: bool = False, body: str | None = None) -> Run:
    def run(scene: Scene, contender: Contender) -> Row:
        client = contender.member if as_member else contender.client
        wrk.warm(client, path, body=body)
        with contender.meter() as meter:
            report = wrk.ask(client, path, seconds=scene.seconds, body=body)
        found = {"requests": report.requests, "per_second": round(report.per_second, 1)}
        return costs(meter) | found | {"p50_ms": report.p50_ms, "p99_ms": report.p99_ms}

    return run


def _create(scene: Scene, contender: Contender) -> Row:
    found = _requests("/v2/images", body=_BODY)(scene, contender)
    catalog.forget(contender.engine, _CREATED)
    return found


def _pages(scene: Scene, contender: Contender) -> Row:
    """Follow `next` to the end; what the client takes to read the documents is not counted."""
    client, path = contender.client, "/v2/images?limit=1000"
    client.do("GET", path)
    took: list[float] = []
    images = 0
    with contender.meter() as meter:
        while path:
            began = time.monotonic()
            answer = client.ask("GET", path)
            took.append(time.monotonic() - began)
            page = answer.json()
            images += len(page["images"])
            path = page.get("next", "")
    row = costs(meter) | {"requests": len(took), "images": images}
    # The last page is shorter than the others.
    return row | {"seconds": sum(took), "first_s": took[0], "last_s": took[-2]}


def _time_of_list(rows: Rows) -> float | None:
    rate = rows.median("list", "gantry", bars.per_second)
    return 1 / rate if rate else None


def _rate(times: float | None = None) -> Bar:
    return Bar("requests/s", bars.per_second, times=times, more_is_better=True)


def _api_cpu(at_most: float | None = None) -> Bar:
    return Bar("API CPU ms a request", bars.request_cpu("api"), at_most=at_most)


def _database_cpu(at_most: float | None = None) -> Bar:
    return Bar("database CPU ms a request", bars.request_cpu("database"), at_most=at_most)


def _filter(name: str) -> Work:
    path = f"{_LIST}&{catalog.FILTERS[name]}"
    what = f"list by {catalog.FILTERS[name]}, 25 of 10,000, 8 connections"
    shown = (_rate(8), _api_cpu(), _database_cpu())
    return Work(f"filter-{name}", what, _requests(path), shown, images=_IMAGES)


WORKS = (
    # What is left of a request where there is less to do: the bounds of the others.
    Work(
        "empty", "GET /healthcheck, 8 connections", _requests("/healthcheck"), (_rate(), _api_cpu())
    ),
    Work(
        "schema",
        "GET of a schema, which needs no database, 8 connections",
        _requests("/v2/schemas/image"),
        (_rate(), _api_cpu()),
    ),
    Work(
        "get",
        "GET of one image, 8 connections",
        _requests(f"/v2/images/{catalog.image_id(1)}"),
        (_rate(5), _api_cpu(1), _database_cpu()),
        images=_IMAGES,
    ),
    Work(
        "list",
        "list 25 of 10,000 as an administrator, 8 connections",
        _requests(_LIST),
        (_rate(10), _api_cpu(2.5), _database_cpu(1.5)),
        images=_IMAGES,
    ),
    Work(
        "list-member",
        "the same as an ordinary user",
        _requests(_LIST, as_member=True),
        (_rate(), _api_cpu(), _database_cpu()),
        images=_IMAGES,
    ),
    *(_filter(name) for name in catalog.FILTERS),
    Work(
        "pages",
        "follow `next` through 9,500 images, 1,000 a page",
        _pages,
        (
            Bar("seconds", bars.seconds, times=8),
            Bar("last full page by the first", bars.quotient("last_s", "first_s"), at_most=1.2),
        ),
        images=_IMAGES,
    ),
    Work(
        "create",
        "POST /v2/images with 2 properties and a tag, 8 connections",
        _create,
        (_rate(4), _api_cpu(5), _database_cpu()),
        images=_IMAGES,
    ),
    Work(
        "list-100k",
        "list 25 of 100,000, 8 connections (Gantry alone)",
        _requests(_LIST),
        (
            _rate(),
            Bar(
                "time of a list by that at 10,000",
                lambda row: 1 / float(row["per_second"]),
                at_most=1.3,
                beside=_time_of_list,
            ),
            _api_cpu(),
            _database_cpu(),
        ),
        images=_MANY,
        has_peer=False,
    ),
)
