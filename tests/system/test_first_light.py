"""The two imports that everything else grows on, run by workers outside the API process."""

import hashlib
import pathlib
import subprocess
import sys

import psutil
import pytest

from tests import service, web


def digests(path: pathlib.Path) -> tuple[str, str]:
    """MD5 and SHA-512 of a file, computed here."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
        file.seek(0)
        return md5, hashlib.file_digest(file, "sha512").hexdigest()


def download(running: service.Service, image_id: str, to: pathlib.Path) -> str | None:
    """Fetch an image's data into a file; the Content-MD5 that came with them."""
    answer = running.ask("GET", f"/v2/images/{image_id}/file")
    assert answer.status == 200
    to.write_bytes(answer.data)
    return answer.headers.get("Content-MD5")


def test_an_iso_comes_in_by_web_download(
    running: service.Service, iso: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Its record says what was computed outside, and it comes out again as it went in."""
    with web.serving({"/m.iso": web.whole(iso.read_bytes())}) as url:
        image_id = running.create(name="memtest", disk_format="iso")
        running.begin_import(image_id, "web-download", uri=f"{url}/m.iso")
        task = running.wait_for_task(image_id)
    record = running.image(image_id)
    assert task["status"] == "success", task["message"]
    assert (record["status"], record["disk_format"]) == ("active", "iso")
    assert record["size"] == record["virtual_size"] == iso.stat().st_size
    assert (record["checksum"], record["os_hash_value"]) == digests(iso)
    assert record["os_hash_algo"] == "sha512"
    assert download(running, image_id, tmp_path / "out.iso") == record["checksum"]
    assert digests(tmp_path / "out.iso") == digests(iso)


def test_a_qcow2_comes_in_by_glance_direct_and_is_converted(
    running: service.Service, qcow2: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The stored data are what an independent qemu-img makes of the same file."""
    image_id = running.create(name="alpine", disk_format="qcow2")
    running.stage(image_id, qcow2.read_bytes())
    assert running.image(image_id)["status"] == "uploading"
    assert running.image(image_id)["size"] == qcow2.stat().st_size
    running.begin_import(image_id)
    task = running.wait_for_task(image_id)
    assert task["status"] == "success", task["message"]
    expected = tmp_path / "expected.raw"
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(qcow2), str(expected)]
    subprocess.run(command, check=True)
    record = running.image(image_id)
    assert (record["status"], record["disk_format"]) == ("active", "raw")
    assert record["size"] == record["virtual_size"] == 1 << 30
    assert (record["checksum"], record["os_hash_value"]) == digests(expected)
    assert record["os_hash_value"] != digests(qcow2)[1]
    part = running.ask("GET", f"/v2/images/{image_id}/file", Range="bytes=1048000-1049000")
    with expected.open("rb") as file:
        file.seek(1048000)
        assert part.data == file.read(1001)
    assert part.status == 206
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204


def test_nothing_is_left_in_staging(running: service.Service) -> None:
    """After the imports of this module only the stored images are there."""
    service.wait_for(
        lambda: not [name for name in running.left_over() if name.startswith("staging/")],
        "staging to be empty",
    )


def test_conversion_runs_under_the_worker_only(
    running: service.Service, qcow2: pathlib.Path
) -> None:
    """While a conversion runs, qemu-img descends from the worker; the API's processes have no child."""
    image_id = running.create(disk_format="qcow2")
    running.stage(image_id, qcow2.read_bytes())
    running.begin_import(image_id)

    def converting() -> list[psutil.Process]:
        found = []
        for one in running.family("worker"):
            try:
                if one.name() == "qemu-img":
                    found.append(one)
            except psutil.NoSuchProcess:
                continue
        return found

    service.wait_for(converting, "qemu-img under the worker")
    names = {one.name() for one in running.family("api")}
    assert not names & {"qemu-img", "prlimit", "setpriv"}
    steps = set()

    def ended() -> bool:
        task = running.task(image_id)
        if task["progress"]:
            steps.add(task["progress"]["step"])
            if task["progress"]["bytes_total"]:
                assert 0 <= task["progress"]["bytes_done"] <= task["progress"]["bytes_total"]
        return bool(task["status"] == "success")

    service.wait_for(ended, "the import to end")
    assert {"convert", "digest"} <= steps
    running.ask("DELETE", f"/v2/images/{image_id}")


@pytest.mark.parametrize("module", ["api.wsgi", "images.service"])
def test_the_api_loads_no_workflow(module: str) -> None:
    """Importing the application brings in neither TaskFlow nor the flows."""
    code = (
        f"import sys, {module}\n"
        "bad = {name for name in sys.modules if name.split('.')[0] in ('taskflow', 'flows', 'workers')}\n"
        "assert not bad, bad"
    )
    run(code)


def test_the_workers_load_no_web() -> None:
    """Importing the workers' app brings in no Flask."""
    run("import sys, workers.app\nassert not {'flask', 'werkzeug', 'api'} & set(sys.modules)")


def run(code: str) -> None:
    """Run code in a fresh interpreter, with the embedded default's configuration."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "OS_GLANCE_CONFIG_FILES": str(service.ROOT / "deploy/gantry.conf"),
        "OS_GANTRY__STATE_PATH": "/nonexistent",
        "PYTHONWARNINGS": "ignore",
    }
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=service.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
