"""`make demo`: two real images in, through Celery workers, and out again, on a private service.

An ISO comes in by web-download, a qcow2 by glance-direct with conversion to raw. Both are downloaded and
their digests compared with ones made outside. Nothing is left afterwards: no process, and no file but the
cache of the two images.
"""

import concurrent.futures
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from deploy import image_client, paced_server, private_service, progress, real_images

#: Bytes a second of the web server that the ISO comes from.
PACE = 3_000_000

#: Seconds that an import may take.
IMPORT_LIMIT = 300

SETTINGS = """\
[import_filtering_opts]
# The demo's web server is on loopback, which is refused by default, and on a port of its own.
allowed_ports = []
allowed_networks = [127.0.0.1]
"""


class DemoError(RuntimeError):
    """Something is not as it should be; the text says what."""


class Demo:
    """The story, told step by step."""

    def __init__(self) -> None:
        self.step = "start"
        self._began = time.monotonic()
        self._count = 0
        self._aside = concurrent.futures.ThreadPoolExecutor(1)

    def headline(self, text: str) -> None:
        """Begin a step."""
        self._count += 1
        self.step = text
        print(f"\n{self._count}. {text}", flush=True)

    def run(self) -> None:
        """All steps; raises where one fails."""
        self.headline("Two real images (fetched once, then taken from the cache)")
        iso, qcow2 = real_images.iso(), real_images.qcow2()
        for image, origin in ((iso, "Debian"), (qcow2, "PyPI")):
            print(f"   {image.name:28} {progress.megabytes(image.stat().st_size)}, from {origin}")
        self.headline("Start the service: gunicorn, a Celery worker, beat, Flower, a private Redis")
        with private_service.running(SETTINGS) as service, self._aside:
            try:
                self._tell(service, iso, qcow2)
            except Exception:
                print(f"\nThe last lines of the service:\n{private_service.tail(service.log)}")
                raise
            self.headline("Stop everything")
        print("   no process left, state removed")

    def _tell(self, service: private_service.Service, iso: Path, qcow2: Path) -> None:
        client = image_client.Client(service.api_port)
        print(f"   Images API {client.url}   Flower http://127.0.0.1:{service.flower_port}")
        self.headline(
            f"web-download of the ISO (its server sends {PACE / 1e6:.0f} MB/s, to be watched)"
        )
        # What this machine's own qemu-img makes of the qcow2 is digested while the paced server leaves time.
        outside = self._aside.submit(converted_outside, qcow2, service.state)
        with paced_server.serving(iso, PACE) as url:
            first = client.create(iso.name, "iso")
            client.begin_import(first, {"name": "web-download", "uri": url})
            wait(client, first)
        self.headline("glance-direct of the qcow2, which is converted to raw")
        second = client.create(qcow2.name, "qcow2")
        with progress.Line() as line:
            client.stage(second, qcow2, lambda done, total: line.show("upload", done, total))
        client.begin_import(second, {"name": "glance-direct"})
        wait(client, second)
        self.headline("The finished records")
        records = [client.image(image_id) for image_id in (first, second)]
        for record in records:
            print(json.dumps(record, indent=2, sort_keys=True))
        self.headline("Download both, and compare with digests made outside")
        check(client, records[0], image_client.digests_of(iso), "iso")
        check(client, records[1], outside.result(), "raw")
        self.headline("Flower")
        look_at_flower(service)

    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began


def wait(client: image_client.Client, image_id: str) -> None:
    """Show an import's progress until it has ended.

    Raises:
        DemoError: it failed, or took too long.
    """
    end = time.monotonic() + IMPORT_LIMIT
    with progress.Line() as line:
        while True:
            task = client.task(image_id)
            if now := task["progress"]:
                line.show(now["step"], now["bytes_done"], now["bytes_total"])
            if task["status"] == "success":
                break
            if task["status"] == "failure":
                raise DemoError(f"the import failed: {task['message']}")
            if time.monotonic() > end:
                raise DemoError(f"the import did not end within {IMPORT_LIMIT} s: {task}")
            time.sleep(0.3)
    print(f"   {client.image(image_id)['status']}")


def converted_outside(qcow2: Path, directory: Path) -> image_client.Digests:
    """Digests of the raw image that this machine's own qemu-img makes of a qcow2."""
    raw = directory / "outside.raw"
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(qcow2), str(raw)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        return image_client.digests_of(raw)
    finally:
        raw.unlink()


def check(
    client: image_client.Client,
    record: dict[str, Any],
    outside: image_client.Digests,
    disk_format: str,
) -> None:
    """Download an image and compare it, its record and the digests made outside.

    Raises:
        DemoError: they differ.
    """
    with progress.Line() as line:
        show = lambda done, total: line.show("download", done, total)  # noqa: E731
        downloaded = client.download(record["id"], show)
    recorded = image_client.Digests(record["checksum"], record["os_hash_value"], record["size"])
    if not downloaded == recorded == outside or record["disk_format"] != disk_format:
        raise DemoError(
            f"{record['name']} is not what it should be ({disk_format}):\n"
            f"   downloaded {downloaded}\n   recorded {recorded}, {record['disk_format']}\n"
            f"   outside {outside}"
        )
    print(
        f"   {record['name']} ({disk_format}, {progress.megabytes(outside.size)}): the same bytes"
    )
    print(f"      md5    {outside.md5}\n      sha512 {outside.sha512}")


def look_at_flower(service: private_service.Service) -> None:
    """Flower shows both jobs to who has the password, and nothing to others.

    Raises:
        DemoError: it does not.
    """
    client = image_client.Client(service.flower_port)
    for page in ("/", "/tasks", "/api/tasks"):
        status, _ = client.ask("GET", page, expect=None)
        if status != 401:  # noqa: PLR2004
            raise DemoError(f"Flower's page {page} answers {status} without a password, not 401")
    print("   without the password: 401")
    jobs = finished_imports(client, service.flower_password)
    for job in jobs:
        print(
            f"   job {job['uuid']} {job['name']} {job['state']} in {job['runtime']:.1f} s, {job['result']}"
        )


def finished_imports(client: image_client.Client, password: str) -> list[dict[str, Any]]:
    """The import jobs that Flower knows; its events come a moment after the fact.

    Raises:
        DemoError: not two of them have ended well within some seconds.
    """
    end = time.monotonic() + 10
    while True:
        _, body = client.ask("GET", "/api/tasks?taskname=run-import", login=("gantry", password))
        jobs = [job for job in json.loads(body).values() if job["state"] == "SUCCESS"]
        if len(jobs) >= 2:  # noqa: PLR2004  as many as there are images
            return jobs
        if time.monotonic() > end:
            raise DemoError(f"Flower does not show two finished import jobs: {body.decode()}")
        time.sleep(0.2)


def main() -> int:
    """Run the demo; returns the exit status."""
    for number in _STOP_SIGNALS:
        signal.signal(number, _interrupt)
    demo = Demo()
    try:
        demo.run()
    except KeyboardInterrupt:
        print("\nDEMO STOPPED", flush=True)
        return 130
    except _FAILURES as error:
        print(f"\nDEMO FAILED in step {demo.step!r}:\n{error}", flush=True)
        return 1
    print(f"\nDEMO OK in {demo.seconds():.1f} s", flush=True)
    return 0


def _interrupt(_number: int, _frame: object) -> None:
    for number in _STOP_SIGNALS:  # a second one must not interrupt the cleaning up
        signal.signal(number, lambda *_: None)
    print("\nstopping everything", flush=True)
    raise KeyboardInterrupt


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_FAILURES = (
    DemoError,
    OSError,
    subprocess.SubprocessError,
    image_client.AnswerError,
    private_service.ServiceError,
    real_images.FetchError,
)


if __name__ == "__main__":
    sys.exit(main())
