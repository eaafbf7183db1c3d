"""What the drivers of stores import, loaded before any of them is.

A driver that was loaded without its library stays so, and in a process of tests one configuration follows the
other: whoever tests stores over the network imports this in its conftest.
"""

import contextlib
import importlib

for library in ("boto3", "swiftclient", "rados", "rbd"):
    with contextlib.suppress(ImportError):
        importlib.import_module(library)
