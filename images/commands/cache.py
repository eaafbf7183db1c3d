"""`gantry cache`, and Glance's `glance-cache-manage`, `-prefetcher`, `-pruner` and `-cleaner` (contract 6.2).

They work on the cache of the host that they are called on, whether its API runs or not.
"""

import argparse
import socket
import sys
from collections.abc import Callable

from images import cache, cache_fills, catalog, errors, hosts, queue

_HERE = ("0.0.0.0", "127.0.0.1", "::1", "localhost")  # noqa: S104 - compared with, not bound to


def add_prefetcher(topic: argparse.ArgumentParser) -> None:
    """`glance-cache-prefetcher`, which takes no words."""
    topic.set_defaults(run=_here(_prefetch))


def add_pruner(topic: argparse.ArgumentParser) -> None:
    """`glance-cache-pruner`, which takes no words."""
    topic.set_defaults(run=_here(_prune))


def add_cleaner(topic: argparse.ArgumentParser) -> None:
    """`glance-cache-cleaner`, which takes no words."""
    topic.set_defaults(run=_here(_clean))


def add(topic: argparse.ArgumentParser) -> None:
    """The words of the topic."""
    topic.add_argument("-f", "--force", action="store_true", help="do not ask before removing")
    topic.add_argument(
        "-H", "--host", default="localhost", help="this host; another one's cache is managed there"
    )
    topic.add_argument("-p", "--port", help="taken as in Glance, and not needed")
    verbs = topic.add_subparsers(required=True, metavar="COMMAND")
    for name, run, about in _VERBS:
        verb = verbs.add_parser(name, help=about)
        if name.endswith("-image"):
            verb.add_argument("image_id", metavar="IMAGE_ID")
        verb.set_defaults(run=_here(run))


def _here(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The same, for a host that has a cache."""

    def checked(options: argparse.Namespace) -> int:
        if getattr(options, "host", "localhost") not in (*_HERE, socket.gethostname()):
            raise errors.Invalid(
                f"The cache of {options.host} is managed there, or through its API (/v2/cache)"
            )
        if not cache.is_on():
            raise errors.NotFound("This host has no image cache: image_cache_dir is not set")
        cache.prepare()
        return run(options)

    return checked


def _list_cached(_: argparse.Namespace) -> int:
    rows = cache.entries()
    if rows:
        print(f"{'ID':36} {'Last Accessed (UTC)':19} {'Last Modified (UTC)':19} {'Size':>14} Hits")
    for row in rows:
        print(
            f"{row.image_id:36} {row.last_accessed:%Y-%m-%dT%H:%M:%S} "
            f"{row.last_modified:%Y-%m-%dT%H:%M:%S} {row.size:14} {row.hits:4}"
        )
    return 0


def _list_queued(_: argparse.Namespace) -> int:
    for image_id in cache.queued():
        print(image_id)
    return 0


def _queue(options: argparse.Namespace) -> int:
    image = catalog.show(cache_fills.EVERYTHING, options.image_id)
    cache_fills.enqueue(image)
    queue.ring(image.id, hosts.queue_of_cache(), queue.PREFETCH)
    print(f"Image {image.id} is queued for caching, or cached already.")
    return 0


def _delete_cached(options: argparse.Namespace) -> int:
    if not _is_sure(options, f"Delete image {options.image_id} from the cache?"):
        return 1
    if not cache.knows(options.image_id):
        raise errors.NotFound(f"Image {options.image_id} is not in the cache")
    cache.drop(options.image_id)
    return 0


def _delete_all_cached(options: argparse.Namespace) -> int:
    if not _is_sure(options, "Delete all images from the cache?"):
        return 1
    print(f"{cache.clear()} images removed")
    return 0


def _delete_queued(options: argparse.Namespace) -> int:
    if not _is_sure(options, f"Delete image {options.image_id} from the queue?"):
        return 1
    if options.image_id not in cache.queued():
        raise errors.NotFound(f"Image {options.image_id} is not queued")
    cache.dequeue(options.image_id)
    return 0


def _delete_all_queued(options: argparse.Namespace) -> int:
    if not _is_sure(options, "Delete all images from the queue?"):
        return 1
    print(f"{cache.empty_queue()} images removed")
    return 0


def _prefetch(_: argparse.Namespace) -> int:
    print(f"{cache_fills.prefetch(lambda: False)} images fetched")
    if waiting := cache.queued():
        print(f"{len(waiting)} images still wait; the log says why", file=sys.stderr)
    return 1 if waiting else 0


def _prune(_: argparse.Namespace) -> int:
    images, size = cache.prune()
    print(f"{images} images removed, {size} bytes")
    return 0


def _clean(_: argparse.Namespace) -> int:
    print(f"{cache.clean()} stalled or invalid images removed")
    return 0


def _is_sure(options: argparse.Namespace, question: str) -> bool:
    if options.force:
        return True
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


_VERBS = (
    ("list-cached", _list_cached, "the images in the cache, the one used longest ago first"),
    ("list-queued", _list_queued, "the images that wait to be cached"),
    ("queue-image", _queue, "let an image be fetched into the cache"),
    ("delete-cached-image", _delete_cached, "remove an image from the cache"),
    ("delete-all-cached-images", _delete_all_cached, "remove all images from the cache"),
    ("delete-queued-image", _delete_queued, "remove an image from the queue"),
    ("delete-all-queued-images", _delete_all_queued, "remove all images from the queue"),
    ("prefetch", _prefetch, "fetch what is queued; 1 if something still waits"),
    ("prune", _prune, "keep to image_cache_max_size"),
    ("clean", _clean, "remove what is stalled, left behind or no longer valid"),
)
