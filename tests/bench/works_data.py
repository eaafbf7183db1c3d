"""Works that move bytes: uploads, downloads and imports."""

import concurrent.futures
import threading
import time
import uuid
from collections.abc import Callable
from typing import Self, TypeVar

from tests.bench import bars, cost
from tests.bench.bars import Bar
from tests.bench.client import Client, is_ready
from tests.bench.contender import Contender
from tests.bench.rows import Row, Rows
from tests.bench.scene import Run, Scene, Work, costs
from tests.bench.trouble import Trouble

#: Images of a burst, and uploads beside a list.
_BURST, _UPLOADS = 20, 4
#: Seconds for which an idle service is asked before.
_IDLE = 3.0
#: Seconds between two requests of a probe, and between two looks at a burst.
_PAUSE, _LOOK = 0.02, 0.2
#: Seconds that a burst may take.
_PATIENCE = 600.0
_LIST = "/v2/images?limit=25"

T = TypeVar("T")


# Imports


def _direct(scene: Scene, contender: Contender) -> Row:
    client = contender.client
    image = client.create()
    with contender.meter() as meter, cost.Tools() as tools:
        client.upload(f"/v2/images/{image}/stage", scene.file, scene.size)
        client.begin_import(image, name="glance-direct")
        record = client.wait_active(image)
    client.delete(image)
    return _imported(record, meter) | {"qemu_img_mib": tools.peak_mib}


def _web(scene: Scene, contender: Contender) -> Row:
    client = contender.client
    image = client.create()
    with contender.meter() as meter:
        uri = f"{scene.ground.web}/{scene.file.name}"
        client.begin_import(image, name="web-download", uri=uri)
        record = client.wait_active(image)
    client.delete(image)
    return _imported(record, meter)


def _imported(record: Row, meter: cost.Meter) -> Row:
    return costs(meter) | {"format": record["disk_format"], "size": record["size"]}


# Uploads and downloads


def _upload(scene: Scene, contender: Contender) -> Row:
    client = contender.client
    image = client.create()
    with contender.meter() as meter:
        client.upload(f"/v2/images/{image}/file", scene.file, scene.size)
    client.delete(image)
    return costs(meter) | {"gib": scene.gib}


def _download(connections: int) -> Run:
    def run(scene: Scene, contender: Contender) -> Row:
        path = f"/v2/images/{_stored(scene, contender)}/file"
        with contender.meter() as meter:
            sizes = _at_once(connections, lambda _: contender.client.download(path))
        if set(sizes) != {scene.size}:
            raise Trouble(f"{contender.name} gave out {sizes} bytes in place of {scene.size}")
        return costs(meter) | {"gib": scene.gib * connections}

    return run


def _stored(scene: Scene, contender: Contender) -> str:
    """An image whose data is there; made once, and read once so that it is in the page cache."""
    if not contender.stored:
        client = contender.client
        contender.stored = client.create("stored")
        path = f"/v2/images/{contender.stored}/file"
        client.upload(path, scene.file, scene.size)
        client.download(path)
    return contender.stored


# Others meanwhile


class _Probe:
    """Asks for the list over and over while the block inside `with` runs."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._seconds: list[float] = []
        self._refused: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            answer = self._client.ask("GET", _LIST)
            self._seconds.append(time.monotonic() - began)
            if answer.status != 200:
                self._refused.append(answer.status)
            self._over.wait(_PAUSE)

    @property
    def p99_ms(self) -> float:
        """Milliseconds within which 99 of 100 requests were answered; of fewer, the slowest one's.

        Raises:
            Trouble: requests were refused.
        """
        if self._refused:
            raise Trouble(f"{_LIST} was answered {self._refused[:5]}")
        in_order = sorted(self._seconds)
        place = min(len(in_order) - 1, int(len(in_order) * 0.99))
        return round(in_order[place] * 1000, 1)

    @property
    def requests(self) -> int:
        """How many were answered."""
        return len(self._seconds)


def _burst(scene: Scene, contender: Contender) -> Row:
    client, name = contender.client, f"burst-{uuid.uuid4().hex[:8]}"
    with _Probe(client) as idle:
        time.sleep(_IDLE)
    ids = [client.create(name) for _ in range(_BURST)]
    size = scene.burst_mib << 20

    def stage(first: int) -> None:
        for one in ids[first::2]:
            client.upload(f"/v2/images/{one}/stage", scene.file, size)

    _at_once(2, stage)
    with contender.meter() as meter, _Probe(client) as probe:
        _at_once(_BURST, lambda n: client.begin_import(ids[n], name="glance-direct"))
        _wait_for_all(client, name)
    for one in ids:
        client.delete(one)
    found = {"p99_idle_ms": idle.p99_ms, "p99_ms": probe.p99_ms, "lists": probe.requests}
    return costs(meter) | found


def _wait_for_all(client: Client, name: str) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        images = client.do("GET", f"/v2/images?name={name}&limit=100")["images"]
        if sum(is_ready(image) for image in images) == _BURST:
            return
        time.sleep(_LOOK)
    raise Trouble(f"{_BURST} imports at once have not ended within {_PATIENCE:.0f} s")


def _uploads_list(scene: Scene, contender: Contender) -> Row:
    client = contender.client
    ids = [client.create() for _ in range(_UPLOADS)]

    def upload(number: int) -> None:
        client.upload(f"/v2/images/{ids[number]}/file", scene.file, scene.size)

    with contender.meter() as meter, _Probe(client) as probe:
        _at_once(_UPLOADS, upload)
    for one in ids:
        client.delete(one)
    return costs(meter) | {"p99_ms": probe.p99_ms, "lists": probe.requests}


def _at_once(count: int, act: Callable[[int], T]) -> list[T]:
    """What `act` returns for each number, each in a thread of its own: the kernel does the work."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(act, range(count)))


# The bars


def _slower_digest(rows: Rows) -> float | None:
    found = [rows.limit("direct", name) for name in ("md5", "sha512")]
    return max((one for one in found if one is not None), default=None)


_DIGESTS = ("md5", "sha512", "both", "beside")

DIRECT = Work(
    "direct",
    "glance-direct: stage and import 1 GiB until it is active",
    _direct,
    (
        Bar("seconds", bars.seconds, times=5),
        Bar("by the slower digest alone", bars.seconds, at_most=1.4, beside=_slower_digest),
        Bar("service CPU s", bars.service_cpu, at_most=4),
    ),
    limits=("write", *_DIGESTS, "loopback"),
)
DIRECT_CONVERT = Work(
    "direct-convert",
    "the same, converted to qcow2",
    _direct,
    (Bar("seconds", bars.seconds, times=4), Bar("service CPU s", bars.service_cpu)),
    limits=("write", *_DIGESTS, "convert"),
    converts=True,
)
WEB = Work(
    "web",
    "web-download of 1 GiB from a cheap server",
    _web,
    (Bar("seconds", bars.seconds, times=5), Bar("service CPU s", bars.service_cpu)),
    limits=("write", *_DIGESTS, "loopback"),
)
UPLOAD = Work(
    "upload",
    "PUT /file of 1 GiB",
    _upload,
    (
        Bar("seconds", bars.seconds, times=3),
        Bar("service CPU s a GiB", bars.service_cpu, at_most=3.5),
    ),
    limits=("write", *_DIGESTS, "loopback"),
)


def _download_work(connections: int) -> Work:
    return Work(
        f"download-{connections}",
        f"GET /file of 1 GiB with {connections} connections at once",
        _download(connections),
        (
            Bar("seconds", bars.seconds, times=1.2),
            Bar("service CPU s a GiB", bars.service_cpu, at_most=0.2),
        ),
        limits=("loopback" if connections == 1 else f"loopback-{connections}",),
    )


BURST = Work(
    "burst",
    "20 imports of 64 MiB at once, until all are active; the list of 25 meanwhile",
    _burst,
    (
        Bar("seconds", bars.seconds, times=3),
        Bar("list p99 by its idle p99", bars.quotient("p99_ms", "p99_idle_ms"), at_most=3),
        Bar("list p99 ms, idle", bars.figure("p99_idle_ms")),
        Bar("list p99 ms", bars.figure("p99_ms")),
    ),
    limits=("write", *_DIGESTS),
    images=10_000,
)
UPLOADS_LIST = Work(
    "uploads-list",
    "the list of 25 while 4 clients upload 1 GiB each",
    _uploads_list,
    (Bar("list p99 ms", bars.figure("p99_ms"), at_most=100), Bar("seconds", bars.seconds)),
    limits=("write", *_DIGESTS),
    images=10_000,
)
WORKS = (
    *(DIRECT, DIRECT_CONVERT, WEB, UPLOAD, _download_work(1), _download_work(4)),
    *(BURST, UPLOADS_LIST),
)
