"""Convert: the plugin `image_conversion` turns the staged file into the operator's format."""

import pathlib
from collections.abc import Callable
from typing import Any

from taskflow import task

from flows import qemu_img, room
from flows import watch as watching
from flows.steps import inspect
from images import config, errors, formats, imports, quota, staging

#: Bytes that the tables of an image may take besides a 64th of its disk.
_TABLES = 64 << 20
#: What qemu-img calls the disk formats.
_QEMU_NAMES = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhdx": "vhdx"} | {
    "vhd": "vpc"
}


class Convert(task.Task):
    """Converts to `[image_conversion] output_format` (contract section 4.3)."""

    default_provides = "staged"

    def __init__(self) -> None:
        """A worker makes one when it starts.

        Raises:
            Invalid: what it would make would not be accepted.
        """
        super().__init__("convert")
        if config.CONF.image_conversion.output_format == "vmdk" and qemu_img.vmdk_type() is None:
            raise errors.Invalid(
                "[image_conversion] output_format is vmdk, but [image_format] vmdk_allowed_types has neither "
                "monolithicSparse nor streamOptimized, which qemu-img can make"
            )

    def execute(self, watch: watching.Watch, staged: dict[str, Any]) -> dict[str, Any]:
        """Write the converted file beside the source; a second run writes it again.

        Raises:
            UnacceptableFormat: the source is not what is declared, or refers to other files.
            LimitExceeded: the outcome is more than this image, or its owner, may have.
            StorageFull: staging has no room for it.
            ImportFailed: qemu-img cannot convert it.
        """
        target = config.CONF.image_conversion.output_format
        source, declared = pathlib.Path(staged["path"]), staged["disk_format"]

        def heard(*_: object) -> None:
            watch.report(self.name, 0, None)

        _check_source(source, staged, heard)
        # What inspect has found out is exact, where it looks: qemu-img rounds up to whole sectors.
        if declared == "iso" or (declared == target and staged["virtual_size"]):
            return staged
        if declared not in _QEMU_NAMES:
            raise errors.ImportFailed(f"The format {declared} cannot be converted to {target}")
        described = qemu_img.info(source, _QEMU_NAMES[declared], heard)
        if declared == target:
            return staged | {"virtual_size": described.virtual_size or None}
        _check_convertible(described, target)
        if target == "raw":  # so much will come out, whatever went in
            _claim(watch.plan, described.virtual_size)
        if described.virtual_size > staging.free_bytes():  # what is empty costs nothing
            staging.check_room(qemu_img.measure(source, _QEMU_NAMES[declared], heard))
        output = _output(watch.plan)
        _remove_outputs(watch.plan)
        staging.create(output)
        qemu_img.convert(
            (source, _QEMU_NAMES[declared]),
            (output, _QEMU_NAMES[target]),
            self._heard(watch, staged["size"], output, described.virtual_size),
            most=_most(target, described.virtual_size),
        )
        staging.sync(output)  # before the flow's state says that it is there: qemu-img does not
        return staged | {
            "path": str(output),
            "size": output.stat().st_size,
            "disk_format": target,
            "container_format": "bare",
            "virtual_size": described.virtual_size or None,
        }

    def _heard(
        self, watch: watching.Watch, source: int, output: pathlib.Path, virtual: int
    ) -> Callable[[float], None]:
        """What is told of the share done: it reports, and stops an outcome that grows too large.

        A disk that is packed within its format may become many times as large, and nothing says it before.
        """
        target = config.CONF.image_conversion.output_format
        grows = target != "raw"
        meter = room.output_meter(watch.plan, target, source) if grows and quota.enabled else None

        def heard(share: float) -> None:
            watch.report(self.name, int(share * virtual), virtual)
            if grows and output.exists():
                size = output.stat().st_size
                _check_cap(size)
                if meter:
                    meter.arrived(size)

        return heard

    def revert(self, watch: watching.Watch, **_: Any) -> None:
        """Remove what was written."""
        _remove_outputs(watch.plan)


def _output(plan: imports.Plan, attempt: int | None = None) -> pathlib.Path:
    """Each attempt has a name of its own: the qemu-img of one that is only paused may go on writing."""
    target = config.CONF.image_conversion.output_format
    return staging.path(plan.image_id, f".{attempt or plan.lease.attempt}.{target}")


def _remove_outputs(plan: imports.Plan) -> None:
    """Those of the attempts up to this one; a later one may be at work, and this one not know it yet."""
    for attempt in range(1, plan.lease.attempt + 1):
        output = _output(plan, attempt)
        for file in output.parent.glob(f"{output.name}*"):
            file.unlink(missing_ok=True)


def _claim(plan: imports.Plan, size: int) -> None:
    """Refuse what will be too large, before qemu-img writes a byte of it."""
    _check_cap(size)
    if quota.enabled:
        room.claim(plan, size)


def _most(target: str, virtual: int) -> int:
    """How large the outcome may grow: a raw disk is as long as it is, the others have tables as well."""
    whole = virtual if target == "raw" else virtual + virtual // 64 + _TABLES
    cap: int = config.CONF.image_size_cap
    return min(whole, cap)


def _check_cap(size: int) -> None:
    cap = config.CONF.image_size_cap
    if size > cap:
        raise errors.LimitExceeded(
            f"The image would have {size} bytes or more when it is converted; image_size_cap is {cap}"
        )


def _check_convertible(described: qemu_img.Info, target: str) -> None:
    if described.is_encrypted:
        raise errors.ImportFailed(
            f"The image is encrypted: without its key it cannot be converted to {target}"
        )
    if target == "vmdk" and not described.virtual_size:
        # Where a header says so, qemu goes by the text behind it, which then means other files.
        raise errors.ImportFailed("The image is an empty disk, and no VMDK can be one")


def _check_source(
    source: pathlib.Path, staged: dict[str, Any], on_bytes: Callable[[int], object]
) -> None:
    """What qemu-img will be told to read must be what is there; it is never left to guess."""
    plugins = config.CONF.image_import_opts.image_import_plugins
    if inspect.will_be_unpacked(staged, plugins[plugins.index("image_conversion") :]):
        raise errors.UnacceptableFormat(
            "The image is still packed where it would be converted: in [image_import_opts] "
            "image_import_plugins, image_decompression must stand before image_conversion"
        )
    declared = staged["disk_format"]
    facts = staging.facts(source) or staging.inspect(source, digest=False, on_bytes=on_bytes)
    found = "raw" if facts.inspection.format == "gpt" else facts.inspection.format
    if found != declared:
        raise errors.UnacceptableFormat(
            f"The image is declared {declared}, but the data are {found}"
        )
    formats.check(facts.inspection, declared, "bare")
