"""The step that converts: when it is not heard, and when it cannot be."""

import dataclasses
import pathlib

import pytest

from flows.steps import convert
from images import errors, staging
from tests.conftest import Configure
from tests.unit.test_flows import plan
from workers import heartbeat


@pytest.mark.usefixtures("configure")
def test_a_late_attempt_leaves_the_output_of_the_next_one_alone() -> None:
    """The one that has lost its lease may not know it yet; the other's qemu-img is at work."""
    mine = dataclasses.replace(
        plan("file"), lease=dataclasses.replace(plan("file").lease, attempt=2)
    )
    for name in (".1.raw", ".2.raw", ".2.raw.facts", ".3.raw", ".12.raw"):
        staging.path("image", name).write_bytes(b"x")
    convert.Convert().revert(watch=heartbeat.Heartbeat(mine))
    left = sorted(file.name for file in staging.path().iterdir())
    assert left == ["image.12.raw", "image.3.raw"]


@pytest.mark.usefixtures("configure")
def test_who_cancels_is_heard_while_the_source_is_read_again(tmp_path: pathlib.Path) -> None:
    """Nothing is known of it where another plugin has written it."""

    def stop(_: int) -> None:
        raise errors.Stopped

    source = tmp_path / "source"
    source.write_bytes(b"data")
    staged = {"path": str(source), "disk_format": "raw", "container_format": "bare"}
    with pytest.raises(errors.Stopped):
        convert._check_source(source, staged, stop)


def test_a_vmdk_that_would_not_be_accepted_stops_the_start(configure: Configure) -> None:
    """Each import would fail after its conversion."""
    target = "[image_conversion]\noutput_format = vmdk\n"
    configure(target + "[image_format]\nvmdk_allowed_types = monolithicFlat")
    with pytest.raises(errors.Invalid, match=r"output_format .* vmdk_allowed_types"):
        convert.Convert()
    for allowed in ("monolithicSparse", "monolithicFlat,streamOptimized"):
        configure(target + f"[image_format]\nvmdk_allowed_types = {allowed}")
        convert.Convert()
