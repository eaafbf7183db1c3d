"""Which stores there are: glance_store's options, judged when the service starts, and its drivers."""

import contextlib
import importlib
import importlib.metadata
import logging
from typing import Any

import glance_store
from glance_store import backend, capabilities, multi_backend
from glance_store import driver as store_driver
from glance_store import exceptions as store_errors
from glance_store import location as store_location
from oslo_config import cfg

from images import config, driver_libraries, errors, store_places

LOG = logging.getLogger(__name__)

#: The oldest glance_store: 0.26.0, with which the Rocky release came, breaks every upload.
_OLDEST = (0, 26, 1)
#: What a driver is no longer capable of where its options are wrong.
WRITE_ACCESS = capabilities.BitMasks.WRITE_ACCESS
#: By a scheme of its URLs, the module that reaches a store through its own library.
CLIENTS = {"s3": "images.s3_store", "swift": "images.swift_store", "rbd": "images.rbd_store"}


def register(conf: cfg.ConfigOpts) -> None:
    """Register glance_store's options; `enabled_backends` must have been read before.

    Raises:
        Invalid: the stores cannot be used as they are configured; the text says why.
    """
    check_version(importlib.metadata.version("glance_store"))
    # glance_store cries over each driver that lacks a library.
    logging.getLogger("stevedore.extension").setLevel(logging.CRITICAL)
    if not conf.enabled_backends:
        conf.register_opts(backend._STORE_OPTS, group="glance_store")
        with driver_libraries.hidden({*conf.glance_store.stores, conf.glance_store.default_store}):
            glance_store.register_opts(conf)
        store_places.check(conf, {})
        return
    bad = [name for name in conf.enabled_backends if name.startswith("os_glance_")]
    if bad:
        raise errors.Invalid(f"enabled_backends: names beginning with os_glance_ are taken: {bad}")
    with driver_libraries.hidden(set(conf.enabled_backends.values())):
        drivers = _loaded(conf)
        multi_backend.register_store_opts(conf, reserved_stores=dict(config.RESERVED_STORES))
    for name in config.public_stores(conf):  # glance_store does it only when it makes the driver
        conf.register_opts(store_driver.Store.MULTI_BACKEND_OPTIONS, group=name)
    if conf.glance_store.default_backend not in config.public_stores(conf):
        raise errors.Invalid("[glance_store] default_backend must name one of enabled_backends")
    options = {name: of_store(conf, name, driver) for name, driver in drivers.items()}
    for name, kind in conf.enabled_backends.items():
        if kind == "swift":  # else its locations' URLs would have `None` in place of the default
            reference = options[name].default_swift_reference
            conf.set_override("default_swift_reference", reference, group=name)
    store_places.check(conf, options)


def of_store(conf: cfg.ConfigOpts, store_id: str, driver: Any) -> Any:
    """A store's options: those of its own section, else of `[backend_defaults]`, else glance_store's."""
    if not hasattr(store_driver, "BackendGroupConfiguration"):  # before glance_store 2.5
        return conf[store_id]
    return store_driver.BackendGroupConfiguration(
        getattr(driver, "OPTIONS", None) or (), store_id, conf=conf
    )


def check_version(installed: str) -> None:
    """Judge the library's version, which somebody may have chosen by hand.

    Raises:
        Invalid: it is too old.
    """
    numbers = tuple(int(part) for part in installed.split(".")[:3] if part.isdigit())
    if numbers < _OLDEST:
        raise errors.Invalid(
            f"glance_store {installed} is too old: install 0.26.1 or later, best that of requirements.txt"
        )


def _loaded(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """The drivers of the stores, not made yet, by the stores' ids."""
    drivers = {d.name: d for d in importlib.metadata.entry_points(group="glance_store.drivers")}
    found = {}
    for name, kind in conf.enabled_backends.items():
        try:
            found[name] = drivers[kind].load()
            if kind in CLIENTS:
                importlib.import_module(CLIENTS[kind])
        except (KeyError, ImportError) as error:
            # glance_store would say nothing now, and fail at the first use of any store.
            raise errors.Invalid(
                f"enabled_backends: the type {kind} of store {name} is not known, or lacks a library: {error}"
            ) from error
    return found


def make_drivers(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Every store's driver by the store's id, as glance_store's `create_stores` would make them.

    There, a store that is misconfigured, or out of reach at this moment, would keep all the others from being
    used. Here it says so itself when it is used.
    """
    if not conf.enabled_backends:
        for kind, driver in backend._load_stores(conf):
            about = _configured(kind, driver)
            store_location.register_scheme_map(dict.fromkeys(driver.get_schemes(), about))
        default = conf.glance_store.default_store or "file"
        with contextlib.suppress(store_errors.UnknownScheme, store_errors.BadStoreConfiguration):
            return {default: glance_store.get_store_from_scheme(default)}
        LOG.error("The store %s cannot be used", default)
        return {}
    reserved, made = dict(config.RESERVED_STORES), {}
    for kind, driver, name in multi_backend._load_multi_stores(conf, reserved_stores=reserved):
        about, made[name] = _configured(kind, driver), driver
        for scheme in driver.get_schemes():
            store_location.register_scheme_backend_map({scheme: {name: about}})
    public = config.public_stores(conf)
    if lost := public.keys() - made.keys():
        LOG.error("These stores cannot be used: %s", ", ".join(sorted(lost)))
    return {name: made[name] for name in public if name in made}


def _configured(kind: str, driver: Any) -> dict[str, Any]:
    """What glance_store keeps of a driver."""
    try:
        driver.configure()
    except Exception:  # its library's, too
        LOG.exception("The store %s cannot be used", driver.backend_group or kind)
    location_class = driver.get_store_location_class()
    return {"store": driver, "location_class": location_class, "store_entry": kind}
