"""Disks whose power can be cut: each is an ext4 file system in a file, mounted through a loop device.

What has reached the device is in the file; what the file system had not written to it yet is lost by a cut.
The mount options keep ext4 from writing what nobody has asked it to write: the journal for five minutes, and
the data of a file that is renamed over another one.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator

#: EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH: ext4 stops as if the power had gone. From this instant not
#: a byte reaches the device, and whoever waits for one gets an error. (To copy the file would take some time,
#: and the kernel writes meanwhile: the copy would be of no one instant.)
_SHUTDOWN, _LOSE_THE_JOURNAL = 0x8004587D, 2
_OPTIONS = "loop,noauto_da_alloc,commit=300"
#: Seconds that processes which were killed may take to let go of their files.
_PATIENCE = 10


def why_not() -> str:
    """Why this machine cannot mount such a disk; "" where it can."""
    if os.geteuid() != 0:
        return "only root mounts file systems"
    for command in (["losetup", "--find"], ["unshare", "--mount", "true"], ["mkfs.ext4", "-V"]):
        if shutil.which(command[0]) is None:
            return f"{command[0]} is not installed"
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            return f"there are no loop devices here, or no mounts: {ended.stderr.strip()}"
    return ""


class Disk:
    """One of them; `path` is where it is mounted."""

    def __init__(self, path: pathlib.Path, mib: int) -> None:
        self.path = path
        self._backing = path.with_name(f"{path.name}.ext4")
        path.mkdir()
        with self._backing.open("wb") as file:
            file.truncate(mib << 20)
        _run("mkfs.ext4", "-q", "-F", str(self._backing))

    def mount(self) -> None:
        """Mount it, which replays its journal after a cut."""
        _run("mount", "-o", _OPTIONS, str(self._backing), str(self.path))

    def sync(self) -> None:
        """Write everything to the device."""
        _run("sync", "--file-system", str(self.path))

    def cut(self) -> None:
        """Cut its power."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _LOSE_THE_JOURNAL))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Unmount it; the loop device goes too, and all that the kernel has cached of its files."""
        end = time.monotonic() + _PATIENCE
        while self.path.is_mount():
            options = ["--lazy"] if time.monotonic() > end else []
            ended = subprocess.run(
                ["umount", *options, str(self.path)], capture_output=True, check=False
            )
            if ended.returncode != 0:
                time.sleep(0.1)


@contextlib.contextmanager
def disks(room: pathlib.Path, *mib: int) -> Iterator[list[Disk]]:
    """Empty disks of so many MiB, not mounted yet; whatever happens no mount is left when the block ends."""
    with contextlib.ExitStack() as stack:
        made = []
        for number, size in enumerate(mib):
            disk = Disk(room / f"disk{number}", size)
            stack.callback(disk.unmount)
            made.append(disk)
        yield made


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
