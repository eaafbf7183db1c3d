"""A host that has no bubblewrap, where the operator wants no qemu-img without it."""

import pathlib
import shlex
import shutil
import subprocess

from tests import service


def test_no_worker_starts_there(tmp_path: pathlib.Path) -> None:
    """It ends at once, and says in one line why, and what to do."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "nice", "setpriv", "prlimit", "qemu-img"):
        (programs / name).symlink_to(shutil.which(name) or name)
    whole = service.Service(tmp_path, options="[gantry]\nqemu_img_box = required")
    line = whole.command("worker").replace("celery", shlex.quote(shutil.which("celery") or ""), 1)
    ended = subprocess.run(
        ["sh", "-c", f"exec {line}"],
        cwd=service.ROOT,
        env=whole.environment | {"PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=service.PATIENCE,
        check=False,
    )
    assert ended.returncode not in (0, None)
    [said] = [line for line in ended.stderr.splitlines() if "qemu_img_box" in line]
    assert said == (
        "[gantry] qemu_img_box is required, but there is none: bubblewrap is not installed. "
        "Install bubblewrap and allow user namespaces, or set it to auto"
    )
    assert "Traceback" not in ended.stderr
