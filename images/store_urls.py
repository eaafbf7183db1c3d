"""Which URLs of locations are a store's own: those in its container, bucket, pool or directory.

The URL of a Swift location names the server that is logged in at, that of a vSphere one the host that gives
the data; others name a bucket or a pool, which the credentials may open although it is not the store's. Only
who adds a location is judged: what stands in the database is read as it is.
"""

import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from images import file_store

_WEB_SCHEMES = ("http", "https")
#: rbd://fsid/pool/image/snapshot, and which of them is the last one up to the image.
_RBD_PIECES, _RBD_OBJECT = 4, 3


def is_web(url: str) -> bool:
    """Whether a URL is a web server's, which nobody here writes to."""
    return urllib.parse.urlsplit(url).scheme in _WEB_SCHEMES


def begins_with(url: str, prefix: str) -> bool:
    """Whether a URL is one of the store whose URLs begin so, as glance_store says where there are several."""
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme in _WEB_SCHEMES:
        return url.startswith(prefix)
    place = prefix.rstrip("/") + "/"
    if _climbs(url) or not url.startswith(place):
        return False
    # A longer path would name another bucket or container of the same server.
    name = url.removeprefix(place)
    return bool(name) and ("/" not in name or not scheme.startswith(("s3", "swift")))


def is_among(url: str, prefixes: Iterable[str]) -> bool:
    """Whether a URL is one of a store whose URLs begin in one of these ways."""
    if url.startswith("filesystem://"):  # the other name of `file`
        url = url.replace("filesystem", "file", 1)
    return any(begins_with(url, prefix) for prefix in prefixes)


def holder(url: str, drivers: Mapping[str, Any]) -> str | None:
    """Of several stores the one whose URLs begin as this one."""
    try:
        scheme = urllib.parse.urlsplit(url).scheme
    except ValueError:
        return None
    for name, driver in drivers.items():
        if scheme in driver.get_schemes() and is_among(url, _beginnings(driver)):
            return name
    return None


def likely_holder(url: str, drivers: Mapping[str, Any]) -> str | None:
    """The store of a location that stands in the record: that of its pool, where `holder` knows none.

    A driver of Ceph whose cluster was away when it was made does not know how its URLs begin. Never ask this
    of a location that somebody names: it may say any cluster.
    """
    if found := holder(url, drivers):
        return found
    scheme, _, rest = url.partition("://")
    pieces = rest.split("/")
    if scheme != "rbd" or len(pieces) != _RBD_PIECES:
        return None
    pool = urllib.parse.unquote(pieces[1])
    silent = [
        name
        for name, driver in drivers.items()
        if scheme in driver.get_schemes() and not driver.url_prefix and driver.pool == pool
    ]
    return silent[0] if len(silent) == 1 else None


def object_of(url: str) -> str:
    """What the object is called that a store's URL names."""
    pieces = urllib.parse.urlsplit(url).path.split("/")
    if url.startswith("rbd://"):
        pieces = url.removeprefix("rbd://").split("/")
        pieces = pieces[:_RBD_OBJECT] if len(pieces) == _RBD_PIECES else pieces
    return urllib.parse.unquote(pieces[-1])


def _beginnings(driver: Any) -> list[str]:
    """How the URLs of a store begin; a file store may have several directories."""
    if "file" in driver.get_schemes():
        return [f"file://{directory}" for directory in file_store.directories(driver)]
    return [driver.url_prefix] if driver.url_prefix else []


def is_own(driver: Any, url: str, place: Any) -> bool:
    """Whether a URL is one of a driver's, where there is one store and glance_store knows no prefix of it.

    `place` is what the driver reads in it, None where it is no URL of its. A driver without a configuration
    has no data.
    """
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme in _WEB_SCHEMES:
        return True  # judged by host and address, when it is read too (`images.urls`)
    if place is None or _climbs(url):
        return False
    judge = _JUDGES.get(scheme.partition("+")[0])
    if judge is None:  # Cinder's have no place but a volume's id
        return bool(driver.url_prefix) and begins_with(url, driver.url_prefix)
    return judge(driver, place)


def _climbs(url: str) -> bool:
    """Whether a path leads out of its directory again."""
    return ".." in urllib.parse.unquote(urllib.parse.urlsplit(url).path).split("/")


def _is_swift(driver: Any, place: Any) -> bool:
    """At one of the configured servers, with the credentials for it, in the container."""
    asked = _address(place.swift_url), _login(place.user, place.key)
    known = [
        (_address(one.get("auth_address")), _login(one.get("user"), one.get("key")))
        for one in driver.ref_params.values()
    ]
    options = driver.store_conf
    container = options.swift_store_container
    is_ours = place.container == container
    if options.swift_store_multiple_containers_seed:
        is_ours = is_ours or place.container.startswith(f"{container}_")
    return bool(place.obj) and is_ours and asked in known


def _address(url: str | None) -> str:
    """A server's address in one spelling; Swift's is https unless it says otherwise."""
    url = (url or "").rstrip("/")
    return url if "://" in url else f"https://{url}"


def _login(user: str | None, key: str | None) -> str:
    """In one word: the driver takes a colon in a key for the one before it."""
    return f"{user}:{key}"


def _is_s3(driver: Any, place: Any) -> bool:
    """In the bucket; the server is the configured one whatever the URL says."""
    host = getattr(driver, "full_s3_host", "").partition("://")[2].strip("/")
    is_ours = bool(host) and (place.s3serviceurl, place.bucket) == (host, driver.bucket)
    return is_ours and bool(place.key)


def _is_rbd(driver: Any, place: Any) -> bool:
    """In the pool; the cluster is the configured one whatever the URL says."""
    pool = getattr(driver, "pool", None)
    return pool is not None and place.pool in (None, pool)


def _is_vsphere(driver: Any, place: Any) -> bool:
    """At the host, in the directory."""
    directory = f"/folder/{getattr(driver, 'store_image_dir', '').strip('/')}/"
    host = place.server_host.strip("[]")
    return bool(host == driver.server_host and place.path.startswith(directory))


_JUDGES: dict[str, Callable[[Any, Any], bool]] = {
    "swift": _is_swift,
    "s3": _is_s3,
    "rbd": _is_rbd,
    "vsphere": _is_vsphere,
}
