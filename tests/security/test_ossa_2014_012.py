"""OSSA-2014-012: a shell took a location's text for commands.

Two things stand before it: no text of a user becomes a word of a command line, and no command line is read by
a shell. Either suffices; without both, a file appears that nobody has asked the service to make.
"""

import ast
import contextlib
import pathlib
import subprocess
import uuid
from typing import Any

import pytest

from api import schemas
from images import editing, errors
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from tests.functional.importing import FORMATS
from tests.security import hostile, sources
from workers import jobs

CONVERTS = "[image_import_opts]\nimage_import_plugins = [image_conversion]"


def shells(source: str) -> list[int]:
    """The lines of a program that hand a text to a shell."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        shell = any(
            word.arg == "shell" and ast.unparse(word.value) != "False" for word in node.keywords
        )
        if shell or name in ("os.system", "os.popen", "subprocess.getoutput", "pty.spawn"):
            found.append(node.lineno)
    return found


def test_ossa_2014_012_no_shell() -> None:
    assert [name for name, text in sources.texts() if shells(text)] == []
    assert shells("subprocess.run(f'qemu-img info {name}', shell=True)\nos.system(name)") == [1, 2]


@pytest.mark.parametrize(
    "text", ["; touch {}", "$(touch {})", "`touch {}`", "\n touch {}", "| touch {}"]
)
def test_ossa_2014_012_texts(caller: Caller, tmp_path: pathlib.Path, text: str) -> None:
    """Neither as a name, a property, or a location's path does it do anything, an import included."""
    canary = tmp_path / "canary"
    api = caller(roles="admin", options=CONVERTS)
    text = text.format(canary)
    image_id = importing.staged(api, b"the data", name=text, x=text)
    assert importing.imported(api, image_id)["name"] == text
    url = {"url": f"sheepdog://{text}"}
    assert api.ask("POST", f"/v2/images/{api.create(**FORMATS)}/locations", url).status_code == 400
    assert not canary.exists()


# An image's id is part of the paths that qemu-img is given, and users may choose it.

ID = "a;touch canary;"


def attack(api: Api, room: pathlib.Path, image_id: str) -> None:
    """Import a disk under an id of one's own."""
    fields = FORMATS | {"id": image_id, "disk_format": "qcow2"}
    made = api.ask("POST", "/v2/images", fields)
    if made.status_code == 400:
        return
    assert made.status_code == 201, made.text
    disk = hostile.packed_disk(room, 1)
    assert api.put(image_id, disk, "stage").status_code == 204
    task_id = importing.asked(api, image_id)
    with contextlib.suppress(errors.ImportFailed):
        jobs.run_import(task_id)


def any_id(patch: pytest.MonkeyPatch) -> None:
    """Take whatever id is asked for."""
    patch.setattr(schemas, "check", lambda *_, **__: None)
    patch.setattr(editing, "_new_id", lambda asked: asked or str(uuid.uuid4()))


def by_shell(patch: pytest.MonkeyPatch) -> None:
    """Put command lines together as texts, and have a shell read them."""

    class Shell(subprocess.Popen[Any]):
        def __init__(self, words: list[str], **options: Any) -> None:
            super().__init__(" ".join(words), shell=True, **options)  # noqa: S604 - that is the fault

    patch.setattr(subprocess, "Popen", Shell)


OFF = {"any id": any_id, "a shell": by_shell}


def touched(caller: Caller, room: pathlib.Path, patch: pytest.MonkeyPatch, *faults: str) -> bool:
    """Whether the attack makes a file in the directory where the worker runs."""
    patch.chdir(room)
    api = caller(options=CONVERTS)
    for fault in faults:
        OFF[fault](patch)
    attack(api, room, ID)
    return (room / "canary").exists()


@pytest.mark.parametrize("faults", [[], ["any id"], ["a shell"]], ids=str)
def test_ossa_2014_012_an_id(
    caller: Caller, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, faults: list[str]
) -> None:
    """It is refused, and would do nothing if it were not."""
    assert not touched(caller, tmp_path, monkeypatch, *faults)


def test_ossa_2014_012_sings(
    caller: Caller, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert touched(caller, tmp_path, monkeypatch, "any id", "a shell")
