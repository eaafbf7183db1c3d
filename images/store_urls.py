"""Which URLs of locations are a store's own: those in its container, bucket, pool or directory.

The URL of a Swift location names the server that is logged in at, that of a vSphere one the host that gives
the data; others name a bucket or a pool, which the credentials may open although it is not the store's. Only
who adds a location is judged: what stands in the database is read as it is.
"""

import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

_WEB_SCHEMES = ("http", "https")


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
