"""The configuration as operators meet it: what is removed, what stops the start, the sample of it."""

import logging
import os
import pathlib
import re
import subprocess
import sys

import pytest

from api import app
from images import config, options
from tests import commands, service
from tests.conftest import Configure
from tests.functional import importing
from tests.functional.conftest import Api, Caller, Command

#: An option of the sample: its name and its default.
_OPTION = re.compile(r"#([a-z0-9_]+) = ?(.*)")


def test_r04_r06_enable_image_import_is_ignored(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    """It was removed in Rocky: imports are there, and nothing is said of it."""
    with caplog.at_level(logging.DEBUG):
        api = caller(options="enable_image_import = false")
        methods = api.ask("GET", "/v2/info/import").get_json()["import-methods"]["value"]
        assert "glance-direct" in methods
        importing.asked(api, importing.staged(api, b"x"))
    assert "enable_image_import" not in caplog.text


@pytest.mark.parametrize("several", [False, True])
def test_r05_staging_that_cannot_be_written_to(
    caller: Caller, command: Command, several_stores: str, tmp_path: pathlib.Path, several: bool
) -> None:
    """It stops the start with one line; while the service runs it costs a 503 and nothing else."""
    api = caller(options=several_stores if several else "")
    image_id = api.create(**importing.FORMATS)
    staging = tmp_path / "staging"
    staging.rmdir()
    staging.write_text("no directory")
    assert api.put(image_id, b"x", "stage").status_code == 503
    assert api.show(image_id)["status"] == "queued"
    with pytest.raises(SystemExit) as caught:
        app.create_app([str(tmp_path / "gantry.conf")])
    option = "filesystem_store_datadir" if several else "node_staging_uri"
    text = str(caught.value)
    assert (option in text, "\n" in text) == (True, False)
    ended = command("gantry config check")
    assert (ended.code, option in ended.err) == (1, True)
    staging.unlink()
    assert command("gantry config check").code == 0
    assert list(staging.iterdir()) == []


def test_r05_a_worker_without_staging_does_not_start(
    caller: Caller, tmp_path: pathlib.Path
) -> None:
    """It would fail every import."""
    caller()
    (tmp_path / "staging").rmdir()
    (tmp_path / "staging").write_text("no directory")
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app", "worker"],
        cwd=service.ROOT,
        env=os.environ | {"OS_GLANCE_CONFIG_FILES": str(tmp_path / "gantry.conf")},
        capture_output=True,
        text=True,
        check=False,
        timeout=service.PATIENCE,
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(
        "gantry: the configuration cannot be used: node_s"
    )


def test_commands_do_not_need_staging(
    caller: Caller, command: Command, tmp_path: pathlib.Path
) -> None:
    """They may run on a host that has none."""
    caller()
    (tmp_path / "staging").rmdir()
    (tmp_path / "staging").write_text("no directory")
    assert command("gantry db check").code == 0


def test_an_impossible_value_stops_commands_too(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "bad.conf"
    file.write_text("[DEFAULT]\nhashing_algorithm = shake_256\n")
    for line in ("gantry config check", "glance-manage db sync", "glance-scrubber"):
        ended = commands.run(file, line)
        assert (ended.code, ended.err.count("\n")) == (1, 0)
        assert "hashing_algorithm" in ended.err


def sample() -> dict[str, dict[str, str]]:
    """What stands in the sample, by its groups: options and their defaults."""
    ended = commands.run(None, "gantry config sample")
    assert (ended.code, ended.err) == (0, "")
    found: dict[str, dict[str, str]] = {}
    group = ""
    for line in ended.out.splitlines():
        if line.startswith("["):
            group = line.strip("[]")
        elif option := _OPTION.fullmatch(line):
            found.setdefault(group, {})[option[1]] = option[2]
        else:
            assert line.startswith("#") or not line, "everything is commented out"
    return found


def test_the_sample_has_every_option() -> None:
    found = sample()
    for group, known in options.GROUPS.items():
        for option in known:
            assert option.dest in found[group or "DEFAULT"]
            assert option.help
    for group, name in [
        ("glance_store", "default_backend"),
        ("keystone_authtoken", "www_authenticate_uri"),
        ("oslo_policy", "policy_file"),
        ("oslo_limit", "endpoint_id"),
        ("DEFAULT", "debug"),
        ("cors", "allowed_origin"),
        ("oslo_middleware", "enable_proxy_headers_parsing"),
    ]:
        assert name in found[group]


def effective() -> dict[tuple[str | None, str], object]:
    """Every option of ours, as it is now."""
    return {
        (group, option.dest): (config.CONF[group] if group else config.CONF)[option.dest]
        for group, known in options.GROUPS.items()
        for option in known
    }


def test_the_sample_s_defaults_are_the_defaults(
    configure: Configure, tmp_path: pathlib.Path
) -> None:
    """Every line of ours may be made effective as it is."""
    found, lines = sample(), []
    for group, known in options.GROUPS.items():
        lines.append(f"[{group or 'DEFAULT'}]")
        for option in known:
            value = found[group or "DEFAULT"][option.dest]
            if value != "<None>" and not option.sample_default:
                lines.append(f"{option.dest} = {value}")
    file = tmp_path / "sample.conf"
    file.write_text("\n".join(lines))
    config.load([])
    expected = effective()
    config.load([str(file)])
    assert effective() == expected


def test_the_sample_may_go_into_a_file(api: Api, command: Command, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "new.conf"
    assert command("gantry config sample --output-file", str(file)).code == 0
    assert "[gantry]" in file.read_text()
    ended = command("gantry config sample --output-file", str(tmp_path / "no/such/file"))
    assert (ended.code, str(tmp_path) in ended.err) == (1, False)
