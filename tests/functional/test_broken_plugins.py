"""Third parties' code that is broken: it stops the start, or ends its task; unused, it harms nobody."""

import contextlib
import logging
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from flows import import_image
from images import db, errors, imports, methods, models, staging
from tests import service
from tests.functional import distributions, importing
from tests.functional.conftest import Api, Caller, Command
from workers import jobs

MODULE = """
from taskflow import task

from images import errors


class Step(task.Task):
    default_provides = "staged"

    def __init__(self):
        super().__init__(self.called)

    def execute(self, watch, staged):
        return staged


class Plain(Step):
    called = "plain"


class Same(Step):
    called = "plain"


class Ours(Step):
    called = "digest"


class OfAStore(Step):
    called = "store:file"


class Needs(Step):
    called = "needs"

    def execute(self, watch, staged, nobody_gives_it):
        return staged


class CannotBeMade(Step):
    def __init__(self):
        raise OSError("/a/path/of/ours is not there")


class CannotBeUndone(Step):
    called = "cannot-be-undone"

    def revert(self, watch, **_):
        raise OSError("It cannot be undone")


class Fails(Step):
    called = "fails"

    def execute(self, watch, staged):
        raise errors.ImportFailed("This is the first cause")


class Breaks(Step):
    called = "breaks"

    def execute(self, watch, staged):
        raise ValueError("/a/path/of/ours")
"""
ENTRY_POINTS = """
[gantry.import_methods]
acme-gone = acme_is_not_here:Method

[gantry.import_steps]
gone = acme_is_not_here:Step
plain = acme_images:Plain
same = acme_images:Same
ours = acme_images:Ours
of_a_store = acme_images:OfAStore
needs = acme_images:Needs
cannot_be_made = acme_images:CannotBeMade
cannot_be_undone = acme_images:CannotBeUndone
fails = acme_images:Fails
breaks = acme_images:Breaks
"""
#: The module of two of them, and why it cannot be had.
GONE = "acme_is_not_here:{} of the package acme-images"
NO_MODULE = "ModuleNotFoundError: No module named 'acme_is_not_here'"


@pytest.fixture(autouse=True)
def installed(tmp_path: pathlib.Path) -> Iterator[None]:
    with distributions.installed(tmp_path / "site", MODULE, ENTRY_POINTS):
        yield


def options(*plugins: str, enabled: str = "glance-direct") -> str:
    """The plugins named, and the methods enabled."""
    return (
        f"enabled_import_methods = [{enabled}]\n"
        f"[image_import_opts]\nimage_import_plugins = [{','.join(plugins)}]\n"
    )


def test_what_is_not_used_harms_nobody(caller: Caller) -> None:
    """A method and a plugin that cannot be imported are installed: the API serves, imports run."""
    api = caller(options=options("plain"))
    assert api.ask("GET", "/v2/info/import").status_code == 200
    image_id = importing.staged(api, b"x" * 1000)
    assert importing.imported(api, image_id)["status"] == "active"


def test_a_method_that_cannot_be_loaded_stops_the_start(caller: Caller, command: Command) -> None:
    """Where it is enabled; one line says whose it is, and why."""
    with pytest.raises(SystemExit) as caught:
        caller(options=options(enabled="glance-direct,acme-gone"))
    said = (
        f"enabled_import_methods: acme-gone ({GONE.format('Method')}) cannot be loaded: {NO_MODULE}"
    )
    assert str(caught.value) == f"gantry: the configuration cannot be used: {said}"
    ended = command("gantry config check")
    assert (ended.code, NO_MODULE in ended.err) == (1, True)
    with pytest.raises(errors.Invalid, match="of the package acme-images"):
        methods.get("acme-gone")
    with pytest.raises(errors.ImportFailed, match="of the package acme-images"):
        methods.named("acme-gone")


@pytest.mark.parametrize(
    ("plugins", "why"),
    [
        (["gone"], f"gone ({GONE.format('Step')}) cannot be loaded: {NO_MODULE}"),
        (
            ["cannot_be_made"],
            "cannot_be_made (acme_images:CannotBeMade of the package acme-images) cannot be loaded: OSError",
        ),
        (["no_op", "plain", "no_op"], "no_op is named twice"),
        (["plain", "same"], "the step of same is called plain, as another one is"),
        (["ours"], "the step of ours is called digest, as another one is"),
        (["of_a_store"], "the step of of_a_store is called store:file, as another one is"),
    ],
)
def test_plugins_that_cannot_be_used(caller: Caller, plugins: list[str], why: str) -> None:
    """A worker is told of them when it starts; a task that meets them ends, and its image is free again."""
    api = caller(options=options(*plugins))
    with pytest.raises(errors.Invalid) as caught:
        import_image.plugins()
    assert str(caught.value) == f"image_import_plugins: {why}"
    image_id = importing.staged(api, b"x" * 1000)
    assert importing.refused(api, image_id) == f"image_import_plugins: {why}"
    check_free(api, image_id)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (options("no_op", "no_op"), "image_import_plugins: no_op is named twice"),
        (options(enabled="acme-gone"), NO_MODULE),
    ],
)
def test_a_worker_that_cannot_use_what_is_configured_does_not_start(
    caller: Caller, tmp_path: pathlib.Path, lines: str, said: str
) -> None:
    with contextlib.suppress(SystemExit):
        caller(options=lines)
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app", "worker"],
        cwd=service.ROOT,
        env=os.environ
        | {
            "OS_GLANCE_CONFIG_FILES": str(tmp_path / "gantry.conf"),
            "PYTHONPATH": str(tmp_path / "site"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=service.PATIENCE,
    )
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("gantry: the configuration cannot be used: ")
    assert last.endswith(said)


def test_a_plugin_that_needs_what_nobody_gives(caller: Caller) -> None:
    """TaskFlow finds that out when the flow is about to run."""
    api = caller(options=options("needs"))
    image_id = importing.staged(api, b"x" * 1000)
    assert importing.refused(api, image_id).startswith("Unexpected MissingDependencies")
    check_free(api, image_id)


@pytest.mark.parametrize(
    ("breaks", "cause"),
    [
        ("fails", "This is the first cause"),
        ("breaks", "Unexpected ValueError in the import; the worker's log has the details"),
    ],
)
def test_a_plugin_that_cannot_be_undone(
    caller: Caller, caplog: pytest.LogCaptureFixture, breaks: str, cause: str
) -> None:
    """The task ends at once, with what has gone wrong first; the rest is in the log."""
    api = caller(options=options("cannot_be_undone", breaks))
    image_id = importing.staged(api, b"x" * 1000)
    with caplog.at_level(logging.ERROR):
        assert importing.refused(api, image_id) == cause
    assert "The step cannot-be-undone could not be undone:" in caplog.text
    assert "It cannot be undone" in caplog.text
    check_free(api, image_id)


def test_a_worker_that_dies_while_it_refuses_leaves_the_cause(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one undoes, and says, what the first one would have."""
    api = caller(
        options=f"{options('cannot_be_undone', 'fails')}[gantry]\nheartbeat_seconds = 0.1\n"
    )
    image_id = importing.staged(api, b"x" * 1000)
    task_id, fail = importing.asked(api, image_id), imports.fail

    def killed(*_: object) -> None:
        raise errors.Abandoned

    monkeypatch.setattr(imports, "fail", killed)
    importing.attempt(task_id, "first")
    monkeypatch.setattr(imports, "fail", fail)
    with pytest.raises(errors.ImportFailed, match="This is the first cause"):
        importing.attempt(task_id, "second")
    assert importing.task_of(api, image_id)["message"] == "This is the first cause"
    with db.reading() as session:
        assert session.scalars(sa.select(models.FlowState.state)).all() == []


def test_a_plugin_of_ours_says_what_is_wrong(caller: Caller) -> None:
    """The texts of our own errors name no path: whoever starts the worker reads them."""
    caller(
        options=f"{options('image_conversion')}[image_conversion]\noutput_format = vmdk\n"
        "[image_format]\nvmdk_allowed_types = monolithicFlat\n"
    )
    with pytest.raises(errors.Invalid, match="vmdk_allowed_types has neither"):
        import_image.plugins()


def check_free(api: Api, image_id: str) -> None:
    """Nothing is left over, and the image can be imported by a service that is in order."""
    image = api.show(image_id)
    assert (image["status"], image["size"]) == ("queued", None)
    assert "os_glance_import_task" not in image
    assert list(staging.path().iterdir()) == []
    with db.reading() as session:
        assert session.scalars(sa.select(models.FlowState.state)).all() == []
        run = session.scalars(sa.select(models.TaskRun)).one()
        assert (run.worker, run.attempt) == (None, 1)
    assert jobs.sweep() == {
        "workers lost": 0,
        "hosts lost": 0,
        "bells rung again": 0,
        "turns called": 0,
    }
    assert api.put(image_id, b"y" * 1000, "stage").status_code == 204
