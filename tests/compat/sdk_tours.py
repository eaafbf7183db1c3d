"""Tours with openstacksdk, run by the Python that has it: sdk_tours.py URL TOUR WORD...

Each tour does what a program would do with the service, and prints what it has seen as one JSON object.
"""

import json
import sys
import time
from typing import Any

import openstack

#: Seconds that an import may take.
_PATIENCE = 120


def upload(images: Any, path: str, copy: str) -> dict[str, Any]:
    """An ISO goes in by PUT /file, is listed, changed, downloaded and deleted."""
    made = images.create_image(
        "upload",
        filename=path,
        disk_format="iso",
        container_format="bare",
        tags=["one"],
        os_distro="memtest",
    )
    shown = images.get_image(made.id)
    listed = [image.id for image in images.images(tag="one")]
    images.update_image_properties(shown, color="red")
    images.add_tag(shown, "two")
    images.remove_tag(shown, "one")
    changed = images.get_image(made.id)
    images.download_image(changed, output=copy)  # raises where the digest is another one
    images.delete_image(changed)
    return {
        "id": made.id,
        "status": shown.status,
        "digests": [shown.checksum, shown.hash_algo, shown.hash_value],
        "owner_specified": shown.properties["owner_specified.openstack.md5"],
        "listed": listed,
        "tags": changed.tags,
        "properties": [changed.os_distro, changed.properties["color"]],
        "found_after_delete": images.find_image(made.id) is not None,
    }


def stage(images: Any, path: str, copy: str) -> dict[str, Any]:
    """An ISO goes in by PUT /stage and an import."""
    image = images.create_image("stage", disk_format="iso", container_format="bare")
    staged = images.stage_image(image, filename=path)
    seen = staged.status
    images.import_image(staged, method="glance-direct").raise_for_status()
    return {"staged": seen} | _imported(images, image.id, copy)


def create_by_import(images: Any, path: str, copy: str) -> dict[str, Any]:
    """create_image does both at once."""
    made = images.create_image(
        "import", filename=path, disk_format="qcow2", container_format="bare", use_import=True
    )
    return _imported(images, made.id, copy)


def web_download(images: Any, uri: str, copy: str) -> dict[str, Any]:
    """An ISO is fetched by the service."""
    image = images.create_image("web", disk_format="iso", container_format="bare")
    images.import_image(image, method="web-download", uri=uri).raise_for_status()
    return _imported(images, image.id, copy)


def _imported(images: Any, image_id: str, copy: str) -> dict[str, Any]:
    image = images.wait_for_status(
        images.get_image(image_id), "active", failures=["queued"], interval=0.3, wait=_PATIENCE
    )
    images.download_image(image, output=copy)
    tasks = [[task.status, task.message] for task in images.image_tasks(image)]
    images.delete_image(image)
    return {
        "disk_format": image.disk_format,
        "digests": [image.checksum, image.hash_algo, image.hash_value],
        "tasks": tasks,
    }


def failures(images: Any, path: str, absent: str) -> dict[str, Any]:
    """What the SDK says where the service refuses."""
    said = {
        "missing": _said(lambda: images.get_image("00000000-0000-4000-8000-000000000000")),
        "wrong format": _said(
            lambda: images.create_image(
                "x", filename=path, disk_format="qcow2", container_format="bare"
            )
        ),
        "reserved": _said(
            lambda: images.create_image("x", container_format="bare", os_glance_mine="x")
        ),
    }
    image = images.create_image("x", disk_format="iso", container_format="bare")
    refused = images.import_image(image, method="web-download", uri="ftp://x.example/a")
    images.import_image(image, method="web-download", uri=absent).raise_for_status()
    said["task"] = _failed_task(images, image)
    images.delete_image(image)
    return said | {"bad url": f"{refused.status_code} {refused.text}"}


def _failed_task(images: Any, image: Any) -> str:
    end = time.monotonic() + _PATIENCE
    while (task := next(iter(images.image_tasks(image)))).status in ("pending", "processing"):
        if time.monotonic() > end:
            break
        time.sleep(0.3)
    return f"{task.status}: {task.message}"


def _said(call: Any) -> str:
    try:
        call()
    except openstack.exceptions.SDKException as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


TOURS = {tour.__name__: tour for tour in (upload, stage, create_by_import, web_download, failures)}


def main(url: str, tour: str, *words: str) -> None:
    """Go on a tour."""
    cloud = openstack.connection.Connection(auth_type="none", endpoint=url)
    print(json.dumps(TOURS[tour](cloud.image, *words)))


if __name__ == "__main__":
    main(*sys.argv[1:])
