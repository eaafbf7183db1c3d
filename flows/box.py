"""How qemu-img is run: in a box that shows it the files of its task and nothing else, with bounded resources.

The box is bubblewrap: namespaces of its own for files, processes and network, in which it sees the system's
libraries, `SOURCE`, `TARGET` and an empty /tmp. Where bubblewrap is missing, or may not make namespaces (in
many containers), what remains are the limits, and a warning when the worker starts.
"""

import functools
import logging
import os
import pathlib
import shutil
import subprocess

from images import config, errors

LOG = logging.getLogger(__name__)

#: What the file that is read, and the one that is written, are called inside.
SOURCE, TARGET = "/source", "/target"
#: Bytes that its /tmp may hold.
_TMP = 16 << 20
#: What programs need of the system: code, and where to find it. /usr is that of the package, without data.
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
#: Seconds that the first try of the box may take on a busy machine.
_PATIENCE = 60


def command(
    arguments: list[str],
    *,
    source: pathlib.Path | None = None,
    target: pathlib.Path | None = None,
    seconds: int,
    most: int = 0,
) -> list[str]:
    """The command line of qemu-img with these arguments, which call the files `SOURCE` and `TARGET`.

    It dies with its worker, has `seconds` of processor time, the address space of `[gantry]
    qemu_img_memory_mib`, and writes no file of more than `most` bytes. `target` must be there, empty.

    Raises:
        ImportFailed: a program is missing on this host, or the operator wants a box and there is none.
    """
    for program in ("setpriv", "prlimit", "qemu-img"):
        if shutil.which(program) is None:
            raise errors.ImportFailed(
                f"The worker's host has no {program}; its operator must install it"
            )
    bounded = ["setpriv", "--pdeathsig", "KILL", "--", "prlimit", *_limits(seconds, most), "--"]
    if is_used():
        return [*bounded, *_bubblewrap(source, target), "qemu-img", *arguments]
    names = {SOURCE: source, TARGET: target}
    return [*bounded, "qemu-img", *(str(names.get(one) or one) for one in arguments)]


def _limits(seconds: int, most: int) -> list[str]:
    """For prlimit. One second beyond the limit of time the kernel kills, which says nothing of the cause."""
    memory = config.CONF.gantry.qemu_img_memory_mib << 20
    return [f"--as={memory}", f"--cpu={seconds}:{seconds + 1}", f"--fsize={most}", "--core=0"]


def is_used() -> bool:
    """Whether there is a box.

    Raises:
        ImportFailed: there is none, and `[gantry] qemu_img_box` requires it.
    """
    wanted = config.CONF.gantry.qemu_img_box
    if wanted == "off":
        return False
    why = missing()
    if why and wanted == "required":
        raise errors.ImportFailed(f"qemu-img has no box on the worker's host: {why}")
    return not why


@functools.cache
def missing() -> str:
    """Why this host has no box; "" where it has one. It is tried once in a process, by running it."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    trial = [*_bubblewrap(None, None), "qemu-img", "--version"]
    try:
        ended = subprocess.run(trial, capture_output=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "bubblewrap cannot be run"
    complaint = ended.stderr.decode(errors="replace").strip()[:200]
    return (complaint or "bubblewrap cannot run qemu-img") if ended.returncode else ""


def warn() -> None:
    """Tell the operator at start where there is no box; `[gantry] qemu_img_box = off` wants no warning.

    Raises:
        Invalid: there is none, and `[gantry] qemu_img_box` requires it.
    """
    wanted = config.CONF.gantry.qemu_img_box
    if wanted == "off" or not (why := missing()):
        return
    if wanted == "required":
        raise errors.Invalid(
            f"[gantry] qemu_img_box is required, but there is none: {why}. Install bubblewrap and allow user "
            "namespaces, or set it to auto"
        )
    LOG.warning(
        "qemu-img runs without a box (%s): one that an image has taken over could read the worker's files. "
        "Install bubblewrap and allow user namespaces; [gantry] qemu_img_box = off silences this.",
        why,
    )


def _bubblewrap(source: pathlib.Path | None, target: pathlib.Path | None) -> list[str]:
    """Its command line: nothing shared, nobody's rights, and the few files that are needed."""
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--chdir", "/"]
    for path in _SYSTEM:
        words += _system(path)
    words += ["--dev-bind", "/dev/null", "/dev/null", "--size", str(_TMP), "--tmpfs", "/tmp"]  # noqa: S108 - its own
    if source:
        words += ["--ro-bind", str(source), SOURCE]
    if target:
        words += ["--bind", str(target), TARGET]
    return [*words, "--"]


def _system(path: str) -> list[str]:
    """A part of the system as it is outside; most are links into /usr."""
    if os.path.islink(path):  # noqa: PTH114 - one look for each of a few names
        return ["--symlink", os.readlink(path), path]  # noqa: PTH115
    return ["--ro-bind-try", path, path]
