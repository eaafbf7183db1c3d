"""The gate for files, shown files that nobody thought of: it refuses or takes them, soon, and never breaks.

Real small images are changed where their headers are; the seeds are always the same, so that a failure comes
again. `SEEDS=n` in the environment makes as many examples of each kind as one likes, with new seeds.
"""

import contextlib
import os
import pathlib
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from images import errors, formats
from tests.unit import disks
from tests.unit.disks import MIB

pytestmark = pytest.mark.usefixtures("configure")

_MANY = int(os.environ.get("SEEDS", "0"))
#: Processor seconds that a verdict may take, on whatever machine: it takes a thousandth of it.
_SOON = 10
_DECLARED = ("raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "aki", "ploop", None)
#: Where the formats keep what is worth to be changed.
_PLACES = {
    "qcow2": (0, 112),
    "vmdk": (0, 1024),
    "vhd": (0, 1536),
    "vhdx": (64 << 10, 256 << 10),
    "vhdx metadata": (2 * MIB, 2 * MIB + (66 << 10)),
    "vdi": (0, 512),
    "iso": (32 << 10, 34 << 10),
    "gpt": (440, 512),
    "luks": (0, 592),
    "dmg": (3 * MIB, 3 * MIB + 512),
    "fixed vhd": (3 * MIB, 3 * MIB + 512),
    "descriptor": (0, len(disks.DESCRIPTOR)),
}

fuzzed = settings(
    max_examples=_MANY or 40,
    derandomize=not _MANY,
    database=None,
    deadline=None,  # the machine's load is not ours
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A real image of each kind."""
    room = tmp_path_factory.mktemp("seeds")
    iso = disks.mbr(bytearray(MIB))
    iso[32768:32776] = b"\x01CD001\x01\0"
    made = {name: disks.of(room, name) for name in disks.QEMU}
    return made | {
        "vhdx metadata": made["vhdx"],
        "iso": bytes(iso),
        "gpt": bytes(disks.mbr(bytearray(MIB))),
        "luks": b"LUKS\xba\xbe\0\x01".ljust(MIB, b"\0"),
        "dmg": bytes(3 * MIB) + b"koly\0\0\0\x04\0\0\x02\0".ljust(512, b"\0"),
        "fixed vhd": disks.fixed_vhd(bytes(3 * MIB)),
        "descriptor": disks.DESCRIPTOR.encode().ljust(MIB, b"\0"),
    }


def _edges(size: int) -> list[int]:
    """What headers of so many bytes count with: nothing, everything, the edges of their signs."""
    bits = 8 * size
    return [0, 1, (1 << bits - 1) - 1, 1 << bits - 1, (1 << bits) - 1]


_SIZES = (1, 2, 4, 8)
edges = st.sampled_from(
    [number.to_bytes(size, "little") for size in _SIZES for number in _edges(size)]
    + [number.to_bytes(size, "big") for size in _SIZES for number in _edges(size)]
)


def changes(kind: str) -> st.SearchStrategy[list[tuple[int, bytes]]]:
    """What is written where: mostly where a header's numbers begin."""
    begin, end = _PLACES[kind]
    places = st.one_of(
        st.integers(0, (end - begin) // 4 - 1).map(lambda word: begin + 4 * word),
        st.integers(begin, end - 1),
    )
    new = st.one_of(edges, st.binary(min_size=1, max_size=24))
    return st.lists(st.tuples(places, new), max_size=12)


cuts = st.one_of(st.none(), st.floats(0, 1))


def verdict(data: bytes, pieces: list[int]) -> formats.Inspection:
    """Feed the data, cut as somebody likes."""
    inspector, at = formats.Inspector(), 0
    for size in pieces:
        inspector.feed(data[at : at + size])
        at += size
    inspector.feed(data[at:])
    return inspector.finish()


def judge(found: formats.Inspection) -> None:
    """Hold it against everything that may be declared; nothing but a refusal is raised."""
    for declared in _DECLARED:
        size = None
        with contextlib.suppress(errors.UnacceptableFormat):
            size = formats.check(found, declared or formats.detect(found), "bare")
        assert size is None or 0 < size <= 1 << 53


@pytest.mark.parametrize("kind", _PLACES)
def test_changed_headers(seeds: dict[str, bytes], kind: str) -> None:
    """Of real images."""

    @fuzzed
    @given(changed=changes(kind), cut=cuts, pieces=st.lists(st.integers(0, MIB), max_size=4))
    def run(changed: list[tuple[int, bytes]], cut: float | None, pieces: list[int]) -> None:
        data = bytearray(seeds[kind])
        for at, new in changed:
            data[at : at + len(new)] = new
        whole = bytes(data if cut is None else data[: int(cut * len(data))])
        began = time.process_time()
        found = verdict(whole, pieces)
        assert time.process_time() - began < _SOON
        judge(found)
        assert verdict(whole, []) == found

    run()


@fuzzed
@given(data=st.binary(max_size=2048), pieces=st.lists(st.integers(0, 700), max_size=5))
def test_any_bytes(data: bytes, pieces: list[int]) -> None:
    """Short ones, without any plan."""
    found = verdict(data, pieces)
    judge(found)
    assert verdict(data, []) == found


_WORDS = st.sampled_from(
    [
        *(
            "# Disk DescriptorFile\n",
            "version=1\n",
            "version=4\n",
            "CID=fffffffe\n",
            "\r\n",
            "\0",
            "é",
        ),
        *("parentCID=ffffffff\n", "parentCID=0\n", 'parentFileNameHint="/etc/passwd"\n'),
        *('createType="monolithicSparse"\n', 'createType="monolithicFlat"\n', 'CREATETYPE="x"'),
        *('RW 1 SPARSE "a"\n', 'RW 1 FLAT "/etc/passwd" 0\n', 'rdonly 9 sparse "b"\n', "ddb.x=1\n"),
    ]
)


@fuzzed
@given(words=st.lists(_WORDS, max_size=12), inside=st.booleans(), sectors=st.integers(0, 1 << 40))
def test_any_descriptor(words: list[str], inside: bool, sectors: int) -> None:
    """What is taken names no other file, whatever else it says."""
    text = "".join(words)
    data = disks.vmdk(text, sectors=sectors) if inside else text.encode()
    found = verdict(data, [])
    judge(found)
    if found.format == "vmdk" and not found.unsafe:
        lower = text.split("\0", maxsplit=1)[0].lower()
        assert "flat" not in lower
        assert "hint" not in lower
        assert sectors


def test_what_was_found_once(tmp_path: pathlib.Path) -> None:
    """Files on which the library, or this gate, has broken."""
    vhdx = disks.of(tmp_path, "vhdx")
    for data in (
        b"a" * 600
        + b"\xff" * 10,  # text that ends: the library asks for a type that it has not set
        b"conectix",
        b"LUKS\xba\xbe",
        b"vhdxfile",
        vhdx[: (192 << 10) + 8],
    ):
        judge(verdict(data, []))
