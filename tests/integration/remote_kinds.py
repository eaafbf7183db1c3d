"""The types of stores that are reached over the network: how each is configured, and what it holds."""

import json
import pathlib
from typing import Any, Protocol

from tests import ceph

#: MiB from which on an image is sent in parts, and MiB of a part: the least that S3 allows.
LARGE, PART = 8, 5
#: Where the images of the store `works` go.
BUCKET = "images"


class Kind(Protocol):
    """One type of store."""

    name: str

    def options(self, store: str, host: str) -> str:
        """Options of the store `works`, `wrong` (credentials) or `poor` (soon full), by gateway `host`."""

    def held(self, store: str = "works") -> list[str]:
        """Names of all that a store holds, what was begun and never finished too."""

    def finished(self, image_id: str) -> bool:
        """Whether the store `works` holds this image, and nothing that is not of it."""

    def begin(self, image_id: str) -> None:
        """Leave behind in the store `works` what a process does that dies while it writes."""

    def empty(self) -> None:
        """Remove all that the store `works` holds, behind the service's back."""


def _secret(store: str) -> str:
    return "wrong" if store == "wrong" else f"{_user(store)}-{ceph.SECRET}"


def _user(store: str) -> str:
    return ceph.POOR if store == "poor" else ceph.USER


class S3:
    """S3 as Ceph's gateway speaks it."""

    name = "s3"

    def __init__(self, cluster: ceph.Ceph, _: pathlib.Path) -> None:
        self._cluster = cluster

    def options(self, store: str, host: str) -> str:
        return f"""
s3_store_host = http://{host}
s3_store_access_key = {_user(store)}-{ceph.ACCESS}
s3_store_secret_key = {_secret(store)}
s3_store_bucket = s3-{store}
s3_store_create_bucket_on_put = true
s3_store_bucket_url_format = path
s3_store_large_object_size = {LARGE}
s3_store_large_object_chunk_size = {PART}
s3_store_thread_pools = 3
"""

    def held(self, store: str = "works") -> list[str]:
        client, bucket = self.client(store), f"s3-{store}"
        if bucket not in {one["Name"] for one in client.list_buckets()["Buckets"]}:
            return []
        objects = client.list_objects_v2(Bucket=bucket).get("Contents", ())
        begun = client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
        return sorted([one["Key"] for one in objects] + [one["Key"] + " begun" for one in begun])

    def finished(self, image_id: str) -> bool:
        return self.held() == [image_id]

    def begin(self, image_id: str) -> None:
        where = {"Bucket": "s3-works", "Key": image_id}
        upload = self.client().create_multipart_upload(**where)["UploadId"]
        self.client().upload_part(**where, UploadId=upload, PartNumber=1, Body=b"part")

    def empty(self) -> None:
        client = self.client()
        for name in self.held():
            if name.endswith(" begun"):
                key = name.removesuffix(" begun")
                for one in client.list_multipart_uploads(Bucket="s3-works")["Uploads"]:
                    if one["Key"] == key:
                        upload = one["UploadId"]
                        client.abort_multipart_upload(Bucket="s3-works", Key=key, UploadId=upload)
            else:
                client.delete_object(Bucket="s3-works", Key=name)

    def client(self, store: str = "works") -> Any:
        """boto3's, past any relay."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=f"http://{self._cluster.host}",
            region_name="default",
            aws_access_key_id=f"{_user(store)}-{ceph.ACCESS}",
            aws_secret_access_key=_secret(store),
        )


class Swift:
    """Swift as Ceph's gateway speaks it."""

    name = "swift"

    def __init__(self, cluster: ceph.Ceph, _: pathlib.Path) -> None:
        self._cluster = cluster
        self._tokens = cluster.tokens()

    def options(self, store: str, host: str) -> str:
        return f"""
swift_store_auth_address = {self._tokens}/{host}/v3
swift_store_user = {_user(store)}:swift
swift_store_key = {_secret(store)}
swift_store_container = swift-{store}
swift_store_create_container_on_put = true
swift_store_large_object_size = {LARGE}
swift_store_large_object_chunk_size = {PART}
"""

    def held(self, store: str = "works") -> list[str]:
        client = self.client(store)
        _, containers = client.get_account()
        if f"swift-{store}" not in {one["name"] for one in containers}:
            return []
        return [one["name"] for one in client.get_container(f"swift-{store}")[1]]

    def finished(self, image_id: str) -> bool:
        held = self.held()
        segments = [name for name in held if name != image_id]
        tries = {name.rpartition("-")[0] for name in segments}
        return image_id in held and len(tries) == 1 and len(segments) == 4

    def begin(self, image_id: str) -> None:
        self.client().put_object("swift-works", f"{image_id}-0123abcd-00001", b"part")

    def empty(self) -> None:
        for name in self.held():
            self.client().delete_object("swift-works", name)

    def client(self, store: str = "works") -> Any:
        """swiftclient's, past any relay."""
        import swiftclient

        url, user = f"http://{self._cluster.host}/auth/v1.0", f"{_user(store)}:swift"
        return swiftclient.Connection(url, user, _secret(store), auth_version="1")


class Rbd:
    """Block devices of Ceph, which has no gateway and takes no bytes beyond its pool's flag."""

    name = "rbd"

    def __init__(self, cluster: ceph.Ceph, room: pathlib.Path) -> None:
        import rbd  # noqa: F401 - whoever asks for this has it

        self._cluster, self._room = cluster, room

    def options(self, store: str, host: str) -> str:
        keyring = self._cluster.keyring("glance")
        if store == "wrong":
            other = self._room / "wrong.keyring"
            key = self._cluster.run("ceph-authtool", "--gen-print-key").strip()
            other.write_text(f"[client.glance]\nkey = {key}\n")
            keyring = other
        conf = self._room / f"{store}.conf"
        text = self._cluster.conf.read_text().replace(f"{self._cluster.room}/keyring", str(keyring))
        conf.write_text(text)
        return f"""
rbd_store_ceph_conf = {conf}
rbd_store_user = glance
rbd_store_pool = {ceph.POOL}
rbd_store_chunk_size = 4
"""

    def held(self, store: str = "works") -> list[str]:
        return self._cluster.run("rbd", "ls", "-p", ceph.POOL).split()

    def finished(self, image_id: str) -> bool:
        return self.held() == [image_id]

    def begin(self, image_id: str) -> None:
        self._cluster.run("rbd", "create", f"{ceph.POOL}/{image_id}.1.part", "--size", "4M")

    def empty(self) -> None:
        for name in self.held():
            place = f"{ceph.POOL}/{name}"
            for snapshot in json.loads(
                self._cluster.run("rbd", "snap", "ls", place, "--format=json")
            ):
                if snapshot["protected"] == "true":
                    self._cluster.run("rbd", "snap", "unprotect", f"{place}@{snapshot['name']}")
            self._cluster.run("rbd", "snap", "purge", place, "--no-progress")
            self._cluster.run("rbd", "rm", place, "--no-progress")


KINDS: dict[str, Any] = {kind.name: kind for kind in (S3, Swift, Rbd)}
