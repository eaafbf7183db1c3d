"""The set-ups in which Tempest meets Gantry: its options, what Tempest is told, which tests run."""

import dataclasses
import pathlib
from dataclasses import dataclass, field

from tests import keystone
from tests.tempest import cloud

#: tempest.conf: section, option, value.
Conf = dict[str, dict[str, str]]

#: Every test that is about images.
ALL_TESTS = (
    r"^(tempest\.api\.image\.|glance_tempest_plugin\."
    r"|tempest\.scenario\.test_snapshots_with_add_location)"
)


@dataclass(frozen=True)
class SetUp:
    """One set-up; `name` is that of its section in expected.toml."""

    name: str
    #: Options of Gantry; `{state}` is its state directory.
    gantry: str = ""
    #: Further stores, as enabled_backends writes them.
    stores: str = ""
    #: Options of the section [DEFAULT], which exists already.
    default: str = ""
    plugins: str = ""
    tempest: Conf = field(default_factory=dict)
    regex: str = ALL_TESTS
    #: Whether a second API shares the work.
    twice: bool = False
    #: Whether there are image caches: then the second API is a host of its own, with a worker.
    caches: bool = False

    def options(self, state: pathlib.Path) -> str:
        """Gantry's options: two file stores, all import methods, and what this set-up adds."""
        return f"""
[DEFAULT]
# One of Tempest's waiters compares an image's stores with the sorted list of all.
enabled_backends = cheap:file,fast:file{self.stores}
enabled_import_methods = [glance-direct,web-download,copy-image,glance-download]
{self.default}
{f"image_cache_dir = {state}/cache" if self.caches else ""}
[glance_store]
default_backend = fast
[cheap]
filesystem_store_datadir = {state}/cheap
{"weight = 20" if self.stores else ""}
[fast]
filesystem_store_datadir = {state}/fast
{"weight = 10" if self.stores else ""}
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {state}/tasks
[import_filtering_opts]
# One of Tempest's tests lets the service fetch from this machine's own address.
allowed_networks = [127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16]
[image_import_opts]
image_import_plugins = [{self.plugins}]
[image_conversion]
output_format = qcow2
{self.gantry}"""


_HTTP = ",web:http"
_LAX = "[image_format]\nrequire_image_format_match = false"
_HTTP_TOLD = {"http_store_enabled": "true"}

DEFAULT = SetUp(
    "tempest-default", twice=True, tempest={"image": {"alternate_image_endpoint": "image_remote"}}
)
FULL = SetUp(
    "tempest-full",
    stores=_HTTP,
    default="show_multiple_locations = true",
    gantry=_LAX,
    plugins="image_conversion",
    twice=True,
    caches=True,
    tempest={
        "image": {"alternate_image_endpoint": "image_remote", "image_caching_enabled": "true"},
        "image-feature-enabled": _HTTP_TOLD
        | {
            "manage_locations": "true",
            "image_conversion": "true",
            "store_weight_enabled": "true",
            "image_format_enforcement": "false",
        },
    },
)
NO_FORMAT_MATCH = SetUp(
    "tempest-no-format-match",
    gantry=_LAX,
    tempest={"image-feature-enabled": {"image_format_enforcement": "false"}},
    regex=r"test_images\.(ListUserImagesTest|BasicOperationsImagesTest)",
)
NO_SECURE_HASH = SetUp(
    "tempest-no-secure-hash",
    stores=_HTTP,
    default="do_secure_hash = false",
    tempest={"image-feature-enabled": _HTTP_TOLD | {"do_secure_hash": "false"}},
    regex=r"test_images\.\w*LocationImportTest",
)
FORMATS = SetUp(
    "tempest-formats",
    plugins="image_conversion",
    # Compute is said to be there, or the class of these tests would not run at all.
    tempest={
        "image-feature-enabled": {"image_conversion": "true"},
        "service_available": {"nova": "true"},
    },
    regex=r"test_images_formats\.",
)


def with_manifest(setup: SetUp, manifest: pathlib.Path) -> SetUp:
    """The set-up with Tempest told where the images of its format tests are."""
    told = setup.tempest | {"image": {"images_manifest_file": str(manifest)}}
    return dataclasses.replace(setup, tempest=told)


ALL = (DEFAULT, FULL, NO_FORMAT_MATCH, NO_SECURE_HASH, FORMATS)


def conf(setup: SetUp, place: cloud.Cloud, room: pathlib.Path) -> str:
    """The text of tempest.conf for one set-up in one cloud."""
    identity = place.identity
    base: Conf = {
        "DEFAULT": {"log_file": str(room / "tempest.log"), "debug": "true"},
        "oslo_concurrency": {"lock_path": str(room / "locks")},
        "identity": {"uri_v3": identity.url, "auth_version": "v3", "region": keystone.REGION},
        "auth": {
            "use_dynamic_credentials": "true",
            "admin_username": "admin",
            "admin_password": keystone.PASSWORD,
            "admin_project_name": "admin",
            "admin_domain_name": "Default",
            "create_isolated_networks": "false",
        },
        "service_available": {"glance": "true"}
        | dict.fromkeys(("nova", "neutron", "cinder", "swift", "horizon"), "false"),
        "enforce_scope": {"glance": "true"},
        "image": {
            "region": keystone.REGION,
            "http_image": f"{place.files}/small.raw",
            "http_qcow2_image": f"{place.files}/small.qcow2",
            "build_timeout": "120",
        },
        "image-feature-enabled": {},
    }
    for section, told in setup.tempest.items():
        base[section] = base.get(section, {}) | told
    return "\n".join(
        f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in told.items())
        for section, told in base.items()
    )
