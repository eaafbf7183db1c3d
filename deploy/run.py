"""`make run`: the whole service on this machine, in one terminal.

Starts a private Redis on a socket in the state directory, brings the database up to date and runs the
processes of the Procfile, their output prefixed by their names. A process that ends is started again.
Ctrl-C or SIGTERM stops all.
"""

import argparse
import contextlib
import fcntl
import functools
import os
import secrets
import shlex
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from honcho import environ

from deploy import broker, supervisor

ROOT = Path(__file__).resolve().parent.parent

#: Seconds that the start of everything may take.
START_LIMIT = 60.0

#: What the processes without a page to ask say when they are ready, and the seconds after which one that
#: has not ended counts as ready (it may log less).
READY_LINES = {"worker": " ready.", "beat": "beat: Starting"}
SETTLED_AFTER = 10.0

LAST_PORT = 65535

SERVERS = {"gunicorn": None, "uwsgi": "uwsgi --ini deploy/uwsgi.ini"}

#: How the line begins that says that everything is started.
UP = "Gantry is up"

BANNER = """
Gantry is up ({seconds:.1f} s).

  Images API   {api}
  Flower       {flower}   user {user}, password in {password}
  State        {state}

Try it from another terminal (deploy/setup.sh clients installs these clients in .venv-clients/bin):

  openstack --os-auth-type none --os-endpoint {api} image list
  glance --os-auth-token none --os-image-url {api} image-list
  curl {api}/v2/images

Ctrl-C stops it.
"""


class RunError(RuntimeError):
    """The service cannot be run as asked; the text says what to do."""


def main(argv: list[str] | None = None) -> int:
    """Run the service until it is told to stop; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        with _locked(arguments.state):
            return _run(arguments)
    except (RunError, broker.BrokerError, supervisor.StartError) as error:
        print(f"\ngantry: {error}", file=sys.stderr, flush=True)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Environment: GANTRY_API_HOST (127.0.0.1), GANTRY_API_PORT (9292), FLOWER_PORT (5555), "
        "FLOWER_BASIC_AUTH\n(user:password; made by itself when unset), GANTRY_WORKER_CONCURRENCY (2), "
        "GANTRY_LOG_LEVEL (INFO),\nOS_GLANCE_CONFIG_FILES (files separated by ';', in place of "
        "deploy/gantry.conf), OS_<GROUP>__<OPTION> (any option).",
    )
    parser.add_argument(
        "--state",
        type=lambda text: Path(text).absolute(),
        default=ROOT / "var",
        help="directory of database, images, staging and broker (default: ./var)",
    )
    parser.add_argument(
        "--config",
        action="append",
        type=lambda text: Path(text).absolute(),
        default=[],
        help="a configuration file to read after deploy/gantry.conf; may be given several times",
    )
    parser.add_argument(
        "--server",
        choices=sorted(SERVERS),
        default="gunicorn",
        help="what serves the API (default: gunicorn)",
    )
    return parser


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Hold the state directory, which two services would destroy for each other."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise RunError(
                f"{state} is in use by a running Gantry, process {holder}\n"
                f"Stop that one (kill {holder}), or choose another directory: make run STATE=/path"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _run(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    env = environment(arguments.state, arguments.config)
    commands = _commands(arguments.server)
    for name in ("GANTRY_API_HOST:GANTRY_API_PORT", "FLOWER_ADDRESS:FLOWER_PORT"):
        _check_port(env, *name.split(":"))
    redis = broker.command(arguments.state)
    watcher = supervisor.Supervisor(supervisor.Output(max(len(name) for name in commands)))
    watcher.on_signals()
    try:
        watcher.start(supervisor.Program("redis", redis, env, ROOT))
        _start(watcher, broker.socket_path(arguments.state), commands, env)
        if not watcher.stopping:
            watcher.output.block(_banner(arguments.state, env, time.monotonic() - began))
        watcher.watch()
    finally:
        watcher.output.block("gantry: stopping (Ctrl-C again: without waiting)")
        watcher.stop()
    watcher.output.block("gantry: stopped")
    return 0


def environment(state: Path, extra_config: list[Path]) -> dict[str, str]:
    """The environment of all processes: this one's, with what is not set filled in."""
    env = dict(os.environ)
    files = env.get("OS_GLANCE_CONFIG_FILES") or str(ROOT / "deploy" / "gantry.conf")
    env["OS_GLANCE_CONFIG_FILES"] = ";".join([files, *map(str, extra_config)])
    env["OS_GANTRY__STATE_PATH"] = str(state)
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"
    defaults = {
        "GANTRY_API_HOST": "127.0.0.1",
        "GANTRY_API_PORT": "9292",
        "FLOWER_ADDRESS": "127.0.0.1",
        "FLOWER_PORT": "5555",
    }
    for name, value in defaults.items():
        env.setdefault(name, value)
    if not env.get("FLOWER_BASIC_AUTH"):
        env["FLOWER_BASIC_AUTH"] = f"gantry:{_flower_password(state)}"
    return env


def _flower_password(state: Path) -> str:
    """The password in the state directory; made the first time, readable by its owner only."""
    path = state / "flower.password"
    path.touch(mode=0o600)
    if not path.read_text().strip():
        path.write_text(secrets.token_urlsafe(18) + "\n")
    return path.read_text().strip()


def _commands(server: str) -> dict[str, str]:
    commands = dict(environ.parse_procfile((ROOT / "Procfile").read_text()).processes)
    if SERVERS[server]:
        commands["api"] = SERVERS[server]
    return commands


def _check_port(env: dict[str, str], host_name: str, port_name: str) -> None:
    host = env[host_name]
    if not env[port_name].isdecimal() or not 0 < int(env[port_name]) <= LAST_PORT:
        raise RunError(f"{port_name}={env[port_name]} is no port: 1 to {LAST_PORT}")
    port = int(env[port_name])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise RunError(
                f"cannot listen on {host}:{port}: {error.strerror}\n"
                f"Another program may hold it. Choose another port: {port_name}={port + 1} make run"
            ) from error


def _start(
    watcher: supervisor.Supervisor,
    redis_socket: Path,
    commands: dict[str, str],
    env: dict[str, str],
) -> None:
    watcher.wait_until(lambda: broker.answers(redis_socket), "Redis", START_LIMIT, pause=0.02)
    watcher.run_once(supervisor.Program("db", ["gantry", "db", "sync"], env, ROOT))
    for name, line in commands.items():
        if not watcher.stopping:
            # The shell makes way for the program, so that signals reach it.
            watcher.start(supervisor.Program(name, ["/bin/sh", "-c", f"exec {line}"], env, ROOT))
    settled = time.monotonic() + SETTLED_AFTER
    said = watcher.output.said
    for url in (_api_url(env), _flower_url(env)):
        watcher.wait_until(functools.partial(_answers, url + "/healthcheck"), url, START_LIMIT)
    watcher.wait_until(
        lambda: all(said(*pair) for pair in READY_LINES.items()) or time.monotonic() > settled,
        "the workers",
        START_LIMIT,
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  made here, http only
            return bool(answer.status == 200)  # noqa: PLR2004
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def _api_url(env: dict[str, str]) -> str:
    return _url(env["GANTRY_API_HOST"], env["GANTRY_API_PORT"])


def _flower_url(env: dict[str, str]) -> str:
    return _url(env["FLOWER_ADDRESS"], env["FLOWER_PORT"])


def _url(host: str, port: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  as seen from here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _banner(state: Path, env: dict[str, str], seconds: float) -> str:
    user = env["FLOWER_BASIC_AUTH"].partition(":")[0]
    own = "FLOWER_BASIC_AUTH" in os.environ
    return BANNER.format(
        seconds=seconds,
        api=_api_url(env),
        flower=_flower_url(env),
        user=user,
        password="FLOWER_BASIC_AUTH" if own else shlex.quote(str(state / "flower.password")),
        state=state,
    )


if __name__ == "__main__":
    sys.exit(main())
