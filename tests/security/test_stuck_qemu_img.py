"""A qemu-img that hangs, spins, eats memory, fills the disk or will not stop talking: ended, with its cause.

Real processes. Where no file makes the real qemu-img do so, another program stands before it in the worker's
PATH; it is seen by the worker only where the box is off.
"""

import contextlib
import pathlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from flows import box
from tests import service
from tests.security import crafted, hostile, vitals

#: Seconds within which nothing may be left of what was cancelled; the bar of a quiet machine is 3.
SOON = 20
#: Seconds within which a task must have ended, on a busy machine.
DEADLINE = 120
#: What stands before qemu-img: it does what it is told by a file, where an image is to be converted.
WRAPPER = """#!/bin/sh
real={real}
[ "$1" = convert ] || exec $real "$@"
for target in "$@"; do :; done
case $(cat {told}) in
hangs) exec sleep 1000 ;;
hangs-in-silence) exec sleep 1000 >&- 2>&- ;;
spins) [ $(ulimit -St) = {seconds} ] || exit 9; ulimit -St 1; while :; do :; done ;;
eats) exec tail /dev/zero ;;
grows) exec yes > "$target" ;;
talks) exec yes >&2 ;;
flees) setsid sleep 1000 & exit 1 ;;
repeats) while :; do $real "$@" > /dev/null; done ;;
esac
"""


class Scene:
    """A service with one worker process, and what stands before its qemu-img."""

    def __init__(self, whole: service.Service, room: pathlib.Path) -> None:
        self.whole = whole
        self._told = room / "told"
        self.good = crafted.filled("qcow2")
        (self.worker,) = [one.pid for one in whole.family("worker")[1:]]

    def begin(self, data: bytes, does: str = "") -> str:
        """Begin an import whose conversion does this; the image."""
        self._told.write_text(does)
        image_id = self.whole.create(disk_format="qcow2")
        self.whole.stage(image_id, data)
        self.whole.begin_import(image_id)
        return image_id

    def fails(self, data: bytes, does: str = "") -> str:
        """What the task of such an import says when it has failed."""
        image_id = self.begin(data, does)
        task = self.whole.wait_for_task(image_id, DEADLINE)
        assert task["status"] == "failure"
        self.check_well(image_id)
        message: str = task["message"]
        assert "/" not in message, "a path may have got into the message"
        return message

    def is_at_work(self) -> bool:
        """Whether the worker has a program below it."""
        return vitals.children(self.worker) != []

    def check_well(self, image_id: str) -> None:
        """Nothing is left of an import that has failed; the same process completes the next one."""
        service.wait_for(lambda: not self.is_at_work(), "every program to be gone", SOON)
        service.wait_for(lambda: not self.whole.left_over(), "every byte to be gone", SOON)
        if self.whole.ask("GET", f"/v2/images/{image_id}").status == 200:
            assert self.whole.image(image_id)["status"] == "queued"
        other = self.whole.create(disk_format="raw")
        self.whole.stage(other, b"a harmless disk")
        self.whole.begin_import(other)
        assert self.whole.wait_for_task(other)["status"] == "success"
        assert [one.pid for one in self.whole.family("worker")[1:]] == [self.worker]
        assert self.whole.ask("DELETE", f"/v2/images/{other}").status == 204


@contextlib.contextmanager
def opened(room: pathlib.Path, seconds: int, options: str = "") -> Iterator[Scene]:
    """API and worker; `seconds` are what a conversion may take. Nobody tidies up, so the worker has to."""
    real = shutil.which("qemu-img")
    before, state = room / "before", room / "state"
    before.mkdir()
    state.mkdir()
    wrapper = before / "qemu-img"
    wrapper.write_text(WRAPPER.format(real=real, told=room / "told", seconds=seconds))
    wrapper.chmod(0o755)
    plugins = "[image_import_opts]\nimage_import_plugins = [image_conversion]\n"
    ours = f"[gantry]\nheartbeat_seconds = 0.2\nconversion_timeout = {seconds}\n{options}\n"
    with service.running(state, options=plugins + ours) as whole:
        whole.environment["GANTRY_WORKER_CONCURRENCY"] = "1"
        whole.environment["PATH"] = f"{before}:{whole.environment['PATH']}"
        whole.start("api", "worker")
        yield Scene(whole, room)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Without a box; a conversion may take two seconds."""
    with opened(tmp_path_factory.mktemp("hasty"), 2, "qemu_img_box = off") as made:
        yield made


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Without a box; a conversion may take ten minutes."""
    options = "qemu_img_box = off\nqemu_img_memory_mib = 512"
    with opened(tmp_path_factory.mktemp("patient"), 600, options) as made:
        yield made


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """With a box where this host has one; a conversion may take a second."""
    with opened(tmp_path_factory.mktemp("boxed"), 1) as made:
        yield made


@pytest.mark.parametrize("does", ["hangs", "hangs-in-silence"])
def test_one_that_hangs(hasty: Scene, does: str) -> None:
    """The clock ends it, whether it still holds its pipes or not."""
    assert "[gantry] conversion_timeout allows" in hasty.fails(hasty.good, does)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("spins", "too much processor time: [gantry] conversion_timeout allows"),
        (
            "eats",
            "more memory to convert the image than [gantry] qemu_img_memory_mib allows, 512 MiB",
        ),
        ("grows", f"The converted image would have more than {8 << 20} bytes"),
        ("talks", "qemu-img could not convert the image"),
    ],
)
def test_one_that_passes_a_limit(patient: Scene, does: str, says: str) -> None:
    """The kernel ends it, each limit in its own words."""
    assert says in patient.fails(patient.good, does)


def test_one_that_has_become_two(patient: Scene) -> None:
    """Without a box nobody can end a process that has fled; the worker does not wait for it for ever."""
    before = set(psutil.pids())
    try:
        assert "qemu-img could not convert" in patient.fails(patient.good, "flees")
    finally:
        for pid in set(psutil.pids()) - before:
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).cmdline() == ["sleep", "1000"]:
                    psutil.Process(pid).send_signal(signal.SIGKILL)


def test_a_file_that_is_a_minutes_work(boxed: Scene) -> None:
    """By the clock or by the processor's: on a host with several, either may be first."""
    assert "[gantry] conversion_timeout allows" in boxed.fails(hostile.slow(65000))


@pytest.mark.skipif(bool(box.missing()), reason=f"no box on this host: {box.missing()}")
def test_what_stands_in_the_path_is_not_seen_in_the_box(boxed: Scene) -> None:
    """The box has the system's programs, wherever the worker finds its own."""
    image_id = boxed.begin(boxed.good, "hangs")
    assert boxed.whole.wait_for_task(image_id, DEADLINE)["status"] == "success"
    assert boxed.whole.ask("DELETE", f"/v2/images/{image_id}").status == 204


def delete(scene: Scene, image_id: str) -> None:
    """Delete the image."""
    assert scene.whole.ask("DELETE", f"/v2/images/{image_id}").status == 204


def cancel(scene: Scene, image_id: str) -> None:
    """As an operator does."""
    done = scene.whole.gantry("imports", "cancel", scene.whole.task(image_id)["id"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("how", [delete, cancel])
@pytest.mark.parametrize("step", ["inspect", "convert"])
def test_what_is_cancelled(
    boxed: Scene, patient: Scene, how: Callable[[Scene, str], None], step: str
) -> None:
    """qemu-img is gone within seconds, whether it converts a file or is only asked about it."""
    if step == "inspect":
        scene = boxed
        image_id = scene.begin(crafted.qcow2_of_many_ways(1_500_000))
    else:
        scene = patient
        image_id = scene.begin(scene.good, "repeats")

    def is_there() -> bool:
        progress = scene.whole.task(image_id)["progress"]
        return bool(scene.is_at_work() and progress and progress["step"] == step)

    service.wait_for(is_there, "qemu-img to run")
    task_id = scene.whole.task(image_id)["id"]
    how(scene, image_id)
    begun = time.monotonic()
    service.wait_for(lambda: not scene.is_at_work(), "qemu-img to be gone", SOON)
    print(f"{step}, {how.__name__}: gone after {time.monotonic() - begun:.1f} s")

    def is_over() -> bool:
        task = scene.whole.ask("GET", f"/v2/tasks/{task_id}").json()
        return task["status"] == "failure" and not scene.whole.left_over()

    service.wait_for(is_over, "the task to end, and the bytes to be gone", SOON)
    scene.check_well(image_id)
