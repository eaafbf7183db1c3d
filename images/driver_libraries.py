"""What glance_store's drivers import, kept out of processes whose configuration has no such store.

glance_store loads every driver, only to learn its options; boto3 alone takes 20 MiB and a third of a second.
"""

import contextlib
import sys
from collections.abc import Iterator

#: By a store's type.
_LIBRARIES = {"s3": ("boto3",), "swift": ("swiftclient",), "rbd": ("rados", "rbd")}


@contextlib.contextmanager
def hidden(types: set[str]) -> Iterator[None]:
    """Let no driver import a library that no store of these types needs.

    To import it raises ImportError, which drivers put up with.
    """
    idle = [name for kind, names in _LIBRARIES.items() if kind not in types for name in names]
    absent = [name for name in idle if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment] # how Python is told that there is no such module
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
