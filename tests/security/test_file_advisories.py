"""The advisories about image files, each tried through a whole import: a canary that must not sing.

Each attack meets several defences. It is tried with all of them, with each one alone, and with none: then the
canary does sing, or the test would prove nothing.
"""

import contextlib
import dataclasses
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from images import errors, imports, staging
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from tests.packing import PACK
from tests.security import defences, hostile
from workers import engine, jobs

MIB = hostile.MIB


@dataclasses.dataclass(frozen=True)
class Scene:
    """One service, and what an attack is after."""

    api: Api
    room: pathlib.Path
    secret: pathlib.Path
    #: Connections that reached a port of the host's loopback.
    calls: list[int]
    port: int

    def attack(self, data: bytes, declared: str, **fields: str) -> str:
        """Import the data; what became of it, in words."""
        image_id = importing.staged(self.api, data, disk_format=declared, **fields)
        task_id = importing.asked(self.api, image_id)
        try:
            return str(jobs.run_import(task_id))
        except errors.ImportFailed:
            record = self.api.show(image_id)
            assert (record["status"], record["size"]) == ("queued", None)
            assert not list(self.room.glob(f"*/{image_id}*"))
            return str(importing.task_of(self.api, image_id)["message"])

    def is_out(self) -> bool:
        """Whether the secret can be read in what is stored."""
        stored = self.room.joinpath("images").glob("*")
        return any(hostile.SONG in file.read_bytes() for file in stored)


#: Makes the scene of a test; the text is what goes below `[gantry]`.
Opened = Callable[..., Scene]


@pytest.fixture
def opened(caller: Caller, tmp_path: pathlib.Path) -> Iterator[Opened]:
    calls: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return
                calls.append(1)

        threading.Thread(target=listen, daemon=True).start()

        def open_(target: str = "raw", *, first: str = "", ours: str = "") -> Scene:
            api = caller(
                options=f"{first}\n[image_import_opts]\n"
                "image_import_plugins = [image_decompression,image_conversion]\n"
                f"[image_conversion]\noutput_format = {target}\n[gantry]\n{ours}\n"
            )
            secret = hostile.canary(tmp_path)
            return Scene(api, tmp_path, secret, calls, server.getsockname()[1])

        yield open_
        server.shutdown(socket.SHUT_RDWR)


def layers(*names: str) -> list[tuple[str, ...]]:
    """Which defences are off: none; all but each one in turn. (All of them: `test_…_sings`.)"""
    alone = [tuple(other for other in names if other != name) for name in names]
    return [(), *(off for off in alone if off)]


def named(off: tuple[str, ...]) -> str:
    """A name for a test."""
    return "without " + ", ".join(off) if off else "as built"


def skip_missing(off: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Where the only defence left is one that this host has not."""
    left = set(names) - set(off)
    for name, why in defences.MISSING.items():
        if left == {name}:
            pytest.skip(why)


LEAK = ("gate", "second look", "box")
DISGUISE = ("gate", "source", "force", "second look", "box")


def leaks(advisory: str, scene: Scene) -> str:
    """Try the attack on a file of the host."""
    builders: dict[str, Callable[[], tuple[bytes, str]]] = {
        "2015-014": lambda: (hostile.backed(scene.room, str(scene.secret)), "qcow2"),
        "2023-002": lambda: (hostile.flat(scene.secret), "vmdk"),
        "2024-001": lambda: (hostile.outside(scene.room, scene.secret), "qcow2"),
        "2024-002": lambda: (hostile.backed(scene.room, str(scene.secret)), "raw"),
        "2024-002, a VMDK": lambda: (hostile.flat(scene.secret).ljust(MIB, b"\0"), "raw"),
        "a VMDK's parent": lambda: (hostile.child(scene.room, scene.secret), "vmdk"),
    }
    return scene.attack(*builders[advisory]())


def check_leak(
    opened: Opened,
    patch: pytest.MonkeyPatch,
    advisory: str,
    names: tuple[str, ...],
    off: tuple[str, ...],
) -> None:
    """Nothing of the secret is stored; as the service is built, the import is refused at the gate."""
    skip_missing(off, names)
    defences.switch_off(patch, *off)
    scene = opened("qcow2" if names is DISGUISE else "raw")
    said = leaks(advisory, scene)
    assert not scene.is_out()
    if not off:
        assert "failed a safety check" in said
        assert str(scene.room) not in said


def check_song(
    opened: Opened, patch: pytest.MonkeyPatch, advisory: str, names: tuple[str, ...]
) -> None:
    """Without all of its defences, the secret is in the store."""
    defences.switch_off(patch, *names)
    scene = opened("qcow2" if names is DISGUISE else "raw")
    assert leaks(advisory, scene) == "active"
    assert scene.is_out()


@pytest.mark.parametrize("off", layers(*LEAK), ids=named)
def test_ossa_2015_014_backing_file(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, off: tuple[str, ...]
) -> None:
    check_leak(opened, monkeypatch, "2015-014", LEAK, off)


@pytest.mark.parametrize("off", layers(*LEAK), ids=named)
def test_ossa_2023_002_flat_vmdk(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, off: tuple[str, ...]
) -> None:
    check_leak(opened, monkeypatch, "2023-002", LEAK, off)


@pytest.mark.parametrize("off", layers(*LEAK), ids=named)
def test_ossa_2024_001_data_file(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, off: tuple[str, ...]
) -> None:
    check_leak(opened, monkeypatch, "2024-001", LEAK, off)


@pytest.mark.parametrize("kind", ["2024-002", "2024-002, a VMDK"])
@pytest.mark.parametrize("off", layers(*DISGUISE), ids=named)
def test_ossa_2024_002_raw_that_is_another_format(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, off: tuple[str, ...], kind: str
) -> None:
    check_leak(opened, monkeypatch, kind, DISGUISE, off)


@pytest.mark.parametrize("off", layers(*LEAK), ids=named)
def test_a_parent_that_a_vmdk_names(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, off: tuple[str, ...]
) -> None:
    """No advisory yet: the library lets it pass."""
    check_leak(opened, monkeypatch, "a VMDK's parent", LEAK, off)


def test_ossa_2015_014_sings(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    check_song(opened, monkeypatch, "2015-014", LEAK)


def test_ossa_2023_002_sings(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    check_song(opened, monkeypatch, "2023-002", LEAK)


def test_ossa_2024_001_sings(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    check_song(opened, monkeypatch, "2024-001", LEAK)


@pytest.mark.parametrize("kind", ["2024-002", "2024-002, a VMDK"])
def test_ossa_2024_002_sings(opened: Opened, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    check_song(opened, monkeypatch, kind, DISGUISE)


def test_a_parent_that_a_vmdk_names_sings(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    check_song(opened, monkeypatch, "a VMDK's parent", LEAK)


@pytest.mark.parametrize("what", ["backed", "outside", "flat", "child"])
@pytest.mark.parametrize("declared", ["raw", "qcow2", "vmdk", "iso"])
def test_an_upload_is_refused_too(opened: Opened, what: str, declared: str) -> None:
    """PUT /file converts nothing, but whoever boots the image would open what it names."""
    scene = opened(first="[image_format]\nrequire_image_format_match = false")
    data = {
        "backed": lambda: hostile.backed(scene.room, str(scene.secret)),
        "outside": lambda: hostile.outside(scene.room, scene.secret),
        "flat": lambda: hostile.flat(scene.secret),
        "child": lambda: hostile.child(scene.room, scene.secret),
    }[what]()
    image_id = scene.api.create(disk_format=declared, container_format="bare")
    answer = scene.api.put(image_id, data)
    assert answer.status_code == 415
    assert "safety check" in answer.text
    assert str(scene.room) not in answer.text
    assert scene.api.show(image_id)["status"] == "queued"
    assert not list(scene.room.glob(f"*/{image_id}*"))


REACH = ("gate", "second look", "box")


def reach(scene: Scene, how: str) -> str:
    """Have qemu-img call a port of the host; what became of the import."""
    server = f'{{"type":"inet","host":"127.0.0.1","port":"{scene.port}"}}'
    by = {
        "json": f'json:{{"driver":"raw","file":{{"driver":"nbd","server":{server}}}}}',
        "url": f"nbd://127.0.0.1:{scene.port}/",
    }[how]
    return scene.attack(hostile.backed(scene.room, by), "qcow2")


@pytest.mark.parametrize("off", layers(*REACH), ids=named)
@pytest.mark.parametrize("how", ["json", "url"])
def test_ossa_2024_003_a_file_that_makes_qemu_img_call_somebody(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, off: tuple[str, ...], how: str
) -> None:
    """Untrusted data choose what qemu-img opens: here a port of the host, which hears nothing of it."""
    skip_missing(off, REACH)
    defences.switch_off(monkeypatch, *off)
    scene = opened()
    said = reach(scene, how)
    assert scene.calls == [], said
    assert off or "backing_file" in said


@pytest.mark.parametrize("how", ["json", "url"])
def test_ossa_2024_003_sings(opened: Opened, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    defences.switch_off(monkeypatch, *REACH)
    scene = opened()
    said = reach(scene, how)
    assert scene.calls, said


class Patient(importing.Watch):
    """Looks on for longer than the conversion may take, and leaves it then."""

    since = 0.0

    def report(self, step: str, done: int, total: int | None) -> None:
        super().report(step, done, total)
        if step == "convert":
            self.since = self.since or time.monotonic()
            if time.monotonic() > self.since + 1.2:
                raise errors.Abandoned("It is still at work")


def keep_busy(scene: Scene, ends_by: type[BaseException]) -> tuple[str, str]:
    """Have qemu-img convert less than a megabyte, of which it has hours' work; the image and what is said."""
    image_id = importing.staged(scene.api, hostile.slow(65000), disk_format="qcow2")
    plan = imports.begin(importing.asked(scene.api, image_id), "worker")
    assert plan is not None
    with Patient(plan) as watch, pytest.raises(ends_by):
        engine.run(plan, watch)
    return image_id, importing.task_of(scene.api, image_id)["message"]


def test_ossa_2016_012_a_file_that_keeps_qemu_img_busy(opened: Opened) -> None:
    """It is stopped in time, and nothing of it is left."""
    scene = opened(ours="conversion_timeout = 1")
    image_id, said = keep_busy(scene, errors.ImportFailed)
    assert "took" in said
    assert not list(scene.room.glob(f"*/{image_id}*"))


def test_ossa_2016_012_sings(opened: Opened) -> None:
    """Where it has time, it is at work for as long as anybody looks on."""
    keep_busy(opened(ours="conversion_timeout = 600"), errors.Abandoned)


FILL = ("claim", "size")


class Filled(importing.Watch):
    """Sees how large the files in staging become while a conversion is at work, and when it is done."""

    most = 0

    def report(self, step: str, done: int, total: int | None) -> None:
        sizes = [file.stat().st_size for file in staging.path().iterdir()]
        self.most = max(self.most, *sizes)
        super().report(step, done, total)


def fill(scene: Scene) -> int:
    """Have some KiB of qcow2 converted that hold 48 MiB; how many bytes there were of it at a time."""
    bomb = hostile.packed_disk(scene.room, 48)
    assert len(bomb) < MIB
    image_id = importing.staged(scene.api, bomb, disk_format="qcow2")
    plan = imports.begin(importing.asked(scene.api, image_id), "worker")
    assert plan is not None
    with Filled(plan) as watch, contextlib.suppress(errors.ImportFailed):
        engine.run(plan, watch)
    assert str(16 * MIB) in importing.task_of(scene.api, image_id)["message"]
    assert not list(scene.room.glob(f"*/{image_id}*"))
    return watch.most


@pytest.mark.parametrize("off", layers(*FILL), ids=named)
def test_ossa_2013_029_a_disk_that_fills_the_disk(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, off: tuple[str, ...]
) -> None:
    """An image may have 16 MiB, and no more are written."""
    defences.switch_off(monkeypatch, *off)
    assert fill(opened(first=f"image_size_cap = {16 * MIB}")) <= 16 * MIB


def test_ossa_2013_029_sings(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is there, before the store refuses it."""
    defences.switch_off(monkeypatch, *FILL)
    assert fill(opened(first=f"image_size_cap = {16 * MIB}")) > 16 * MIB


@pytest.mark.parametrize("off", [(), ("ratio",)], ids=named)
@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd", "zip"])
def test_a_packed_file_that_fills_the_disk(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, off: tuple[str, ...], kind: str
) -> None:
    """No advisory yet: Glance unpacks whatever there is."""
    defences.switch_off(monkeypatch, *off)
    scene = opened()
    said = scene.attack(PACK[kind](bytes(24 * MIB)), "raw")
    assert (said == "active") == bool(off)
    assert off or "decompression_ratio" in said


def alter(scene: Scene) -> tuple[bool, bool]:
    """Have data imported that are not those of the checksum; whether they are converted, and active."""
    image_id = importing.staged(scene.api, b"the published bytes" * 1000)
    method = importing.DIRECT | {
        "expected_checksum": {"algorithm": "sha256", "value": "0" * 64},
    }
    plan = imports.begin(importing.asked(scene.api, image_id, method), "worker")
    assert plan is not None
    with importing.Watch(plan) as watch, contextlib.suppress(errors.ImportFailed):
        engine.run(plan, watch)
    return "convert" in watch.steps, scene.api.show(image_id)["status"] == "active"


def test_ossa_2024_004_a_checksum_that_nobody_looks_at(opened: Opened) -> None:
    """One bit is another one on the way: it is seen before anything is made of the data."""
    assert alter(opened("qcow2")) == (False, False)


def test_ossa_2024_004_sings(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    defences.switch_off(monkeypatch, "compare")
    assert alter(opened("qcow2")) == (True, True)
