"""One pass writes, inspects and digests; nothing is left where it fails."""

import fcntl
import hashlib
import io
import os
import pathlib
import subprocess
import threading
from collections.abc import Callable

import pytest

from images import errors, new_file, staging, stores
from tests.conftest import Configure

DATA = os.urandom(9 << 20)

pytestmark = pytest.mark.usefixtures("configure")


class Broken(io.BytesIO):
    """A stream that breaks off behind its first piece."""

    def readinto(self, room: memoryview, /) -> int:  # type: ignore[override]
        """A piece, and then an error."""
        if self.tell():
            raise errors.SizeMismatch
        return super().readinto(room)


def names() -> list[str]:
    """What is in staging."""
    return sorted(file.name for file in staging.path().iterdir())


def test_what_is_found_out_on_the_way() -> None:
    """Size, format and both digests, and the bytes as they came."""
    seen: list[int] = []
    facts = staging.receive("an-id", io.BytesIO(DATA), digest=True, on_bytes=seen.append)
    assert facts.digest is not None
    assert facts.digest["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
    assert (facts.size, facts.inspection.format) == (len(DATA), "raw")
    assert staging.path("an-id").read_bytes() == DATA
    assert seen[-1] == len(DATA)
    assert staging.facts(staging.path("an-id")) == facts


class Meanwhile(io.BytesIO):
    """A stream in the middle of which something else happens."""

    def __init__(self, data: bytes, happens: Callable[[], object]) -> None:
        super().__init__(data)
        self.happens = happens

    def readinto(self, room: memoryview, /) -> int:  # type: ignore[override]
        """A piece; what happens does so behind the first one."""
        size = super().readinto(room)
        if self.tell() == size:
            self.happens()
        return size


def test_two_that_receive_the_same_image() -> None:
    """An upload that was given up, and is not dead: each writes to a file of its own, the last one stays."""
    other = os.urandom(5 << 20)
    found: list[staging.Facts] = []

    def second() -> None:
        found.append(staging.receive("an-id", io.BytesIO(other), digest=True))
        assert staging.path("an-id").read_bytes() == other

    late = staging.receive("an-id", Meanwhile(DATA, second), digest=True)
    assert late.digest is not None
    assert late.digest["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
    assert staging.path("an-id").read_bytes() == DATA
    assert staging.facts(staging.path("an-id")) == late
    assert (found[0].size, names()) == (len(other), ["an-id", "an-id.facts"])


def test_a_file_that_is_replaced_while_it_is_read() -> None:
    """What was found out is not said of the one that has its name now."""
    file = staging.path("an-id")
    file.write_bytes(DATA)
    aside = staging.path("aside")
    aside.write_bytes(DATA[::-1])

    def replace(_: int) -> None:
        if aside.exists():
            aside.rename(file)

    with pytest.raises(errors.Gone):
        staging.inspect(file, digest=True, on_bytes=replace)
    assert staging.facts(file) is None


def test_threads_end_with_a_stream_that_breaks() -> None:
    """Those that digest, at once, although the error is still looked at."""
    with pytest.raises(errors.SizeMismatch):
        staging.receive("an-id", Broken(DATA), digest=True)
    assert not [one for one in threading.enumerate() if one.name.startswith("digest")]


def test_facts_count_for_the_very_file_only() -> None:
    """A file that was written to since, or replaced by another one, is not the one that was digested."""
    file = staging.path("an-id")
    staging.receive("an-id", io.BytesIO(DATA), digest=True)
    os.utime(file, (1, 1))
    assert staging.facts(file) is None
    staging.receive("an-id", io.BytesIO(DATA), digest=True)
    file.unlink()
    file.write_bytes(DATA)
    assert staging.facts(file) is None


def test_a_stream_that_breaks_leaves_nothing() -> None:
    """Neither the bytes nor word of them."""
    with pytest.raises(errors.SizeMismatch):
        staging.receive("an-id", Broken(DATA), digest=True)
    assert names() == []


@pytest.mark.parametrize(("length", "passes"), [(999, True), (1000, True), (1001, False)])
def test_the_size_cap(configure: Configure, length: int, *, passes: bool) -> None:
    """One byte more than the cap is too much, and leaves nothing."""
    configure("[DEFAULT]\nimage_size_cap = 1000")
    source = io.BytesIO(DATA[:length])
    if passes:
        assert staging.receive("an-id", source, digest=False).size == length
        return
    with pytest.raises(errors.LimitExceeded):
        staging.receive("an-id", source, digest=False)
    assert names() == []


def test_a_directory_that_is_in_the_way(configure: Configure, tmp_path: os.PathLike[str]) -> None:
    """Staging that cannot be used is Unavailable, and the text has no path in it."""
    blocked = os.path.join(tmp_path, "file")  # noqa: PTH118
    with open(blocked, "w") as file:  # noqa: PTH123
        file.write("not a directory")
    configure(f"[DEFAULT]\nnode_staging_uri = file://{blocked}/staging")
    with pytest.raises(errors.Unavailable) as caught:
        staging.receive("an-id", io.BytesIO(DATA), digest=False)
    assert "/" not in str(caught.value)


def test_removing_takes_all_that_belongs_to_an_image() -> None:
    """The bytes, the facts, a conversion's outcome; another image's are left alone."""
    staging.receive("one", io.BytesIO(b"1"), digest=True)
    staging.receive("two", io.BytesIO(b"2"), digest=True)
    staging.path("one", ".raw").write_bytes(b"converted")
    staging.remove("one")
    assert names() == ["two", "two.facts"]


def test_further_digests() -> None:
    """They are made on the way, with the record's or without, and known again."""
    sha256 = hashlib.sha256(DATA).hexdigest()
    facts = staging.receive("an-id", io.BytesIO(DATA), digest=False, algorithms=["sha256"])
    assert (facts.digest, facts.made) == (None, {"sha256": sha256})
    assert staging.facts(staging.path("an-id")) == facts
    facts = staging.receive("an-id", io.BytesIO(DATA), digest=True, algorithms=["sha256", "md5"])
    assert facts.digest is not None
    assert sorted(facts.made) == ["md5", "sha256", "sha512"]
    assert (facts.made["sha256"], facts.made["md5"]) == (sha256, facts.digest["checksum"])


def test_a_file_is_read_again_only_for_a_digest_that_is_missing() -> None:
    """And what was known of it stays known."""
    reads: list[int] = []
    known = staging.receive("an-id", io.BytesIO(DATA), digest=True, algorithms=["sha256"])
    file = staging.path("an-id")
    assert staging.digested(file, ["sha256"], digest=True, on_bytes=reads.append) == known
    assert reads == []
    more = staging.digested(file, ["sha384"], digest=False, on_bytes=reads.append)
    assert reads[-1] == len(DATA)
    assert more.digest == known.digest
    assert more.made["sha384"] == hashlib.sha384(DATA).hexdigest()


SEVERAL = "[DEFAULT]\nenabled_backends = {}\n[glance_store]\ndefault_backend = one\n"
SEVERAL += "[os_glance_staging_store]\nfilesystem_store_datadir = PLACE/staging\n"
SEVERAL += "[os_glance_tasks_store]\nfilesystem_store_datadir = PLACE/tasks\n"
SEVERAL += "[one]\nfilesystem_store_datadir = PLACE/a\n[two]\nfilesystem_store_datadir = PLACE/b\n"


@pytest.mark.parametrize(
    ("options", "stays"),
    [
        ("", False),
        (SEVERAL.format("one:file"), False),
        (SEVERAL.format("one:file,two:file"), True),
        (SEVERAL.format("one:swift"), True),
        ("[glance_store]\nstores = swift\ndefault_store = swift\n", True),
    ],
)
def test_what_a_second_store_reads_stays_in_memory(
    configure: Configure, tmp_path: pathlib.Path, options: str, *, stays: bool
) -> None:
    """A file that is only linked into its store goes past the page cache; one to be converted does not."""
    if not _can_go_past_the_cache(tmp_path):
        pytest.skip(f"{tmp_path} is on a file system without direct writes")
    configure(options.replace("PLACE", str(tmp_path)))
    if "swift" not in options:  # which has no server here
        # It makes the drivers, which changes the configuration.
        stores.directories(stores.default_id())
    block = io.BytesIO(DATA[: 8 << 20])
    staging.receive("an-id", block, digest=True)
    assert bool(_cached(staging.path("an-id"))) is stays
    staging.receive("another", io.BytesIO(DATA), digest=False)
    assert _cached(staging.path("another"))


def _cached(file: pathlib.Path) -> int:
    """Bytes of a file that are in the page cache."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", str(file)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


def _can_go_past_the_cache(directory: pathlib.Path) -> bool:
    file = directory / "probe"
    with new_file.NewFile(file, cached=False) as probe:
        return bool(fcntl.fcntl(probe.fileno(), fcntl.F_GETFL) & os.O_DIRECT)
