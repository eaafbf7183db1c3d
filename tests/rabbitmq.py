"""A private RabbitMQ for one test: its own node, ports, data, user and virtual host; no guest, no plugin."""

import pathlib
import secrets
import socket
import subprocess

import amqp  # type: ignore[import-untyped]
import pytest

#: Debian's wrappers in PATH insist on the system's node; these scripts take any.
_PROGRAMS = pathlib.Path("/usr/lib/rabbitmq/bin")
_LOCAL = "127.0.0.1"
USER, VHOST = "gantry", "images"


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((_LOCAL, 0))
        port: int = probe.getsockname()[1]
        return port


class RabbitMQ:
    """A broker on a directory of its own; `command` runs it, again and again, on the same data."""

    def __init__(self, room: pathlib.Path) -> None:
        self.room = room
        self.port, self._peers, self._names = free_port(), free_port(), free_port()
        self.password = secrets.token_urlsafe(12)
        self.url = f"amqp://{USER}:{self.password}@{_LOCAL}:{self.port}/{VHOST}"
        self.node = f"gantry{self.port}@localhost"

    def command(self) -> list[str]:
        """The command that runs it in the foreground, in one process group with its port mapper."""
        if not (_PROGRAMS / "rabbitmq-server").exists():
            pytest.fail(
                "rabbitmq-server is not installed: run `deploy/setup.sh integration`, or "
                "`make integration`, which does",
                pytrace=False,
            )
        self._configure()
        names = f"epmd -address {_LOCAL} -port {self._names}"
        # Both die with the test, even one that is killed; RabbitMQ's script becomes the server itself.
        run = f"setpriv --pdeathsig KILL {names} & exec {_PROGRAMS}/rabbitmq-server"
        return [
            "env",
            *(f"{name}={value}" for name, value in self._environment().items()),
            "sh",
            "-c",
            run,
        ]

    def answers(self) -> bool:
        """Whether a client that knows the password is let in."""
        try:
            with self.connection():
                return True
        except (OSError, amqp.AMQPError):
            return False

    def connection(self) -> amqp.Connection:
        """A client's connection, to be used in a `with` block."""
        return amqp.Connection(
            f"{_LOCAL}:{self.port}",
            userid=USER,
            password=self.password,
            virtual_host=VHOST,
            connect_timeout=2,
        )

    def control(self, *words: str) -> str:
        """What `rabbitmqctl` says."""
        command = [str(_PROGRAMS / "rabbitmqctl"), "--quiet", "--node", self.node, "--vhost", VHOST]
        run = subprocess.run(
            [*command, *words], env=self._environment(), capture_output=True, text=True, check=True
        )
        return run.stdout

    def _configure(self) -> None:
        if (self.room / "rabbitmq.conf").exists():
            return
        self.room.mkdir(parents=True, exist_ok=True)
        (self.room / "enabled_plugins").write_text("[].\n")
        lines = [
            f"listeners.tcp.1 = {_LOCAL}:{self.port}",
            # What a first start makes; `guest` is not among it.
            f"default_user = {USER}",
            f"default_pass = {self.password}",
            f"default_vhost = {VHOST}",
            "log.console = true",
            "log.console.level = info",
            "log.file = false",
            "disk_free_limit.absolute = 50MB",
        ]
        (self.room / "rabbitmq.conf").write_text("\n".join(lines) + "\n")

    def _environment(self) -> dict[str, str]:
        room = str(self.room)
        return {
            "HOME": room,  # where Erlang keeps its cookie
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._peers),
            "RABBITMQ_NODE_IP_ADDRESS": _LOCAL,
            "RABBITMQ_MNESIA_BASE": f"{room}/mnesia",
            "RABBITMQ_LOG_BASE": f"{room}/log",
            "RABBITMQ_CONFIG_FILE": f"{room}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{room}/enabled_plugins",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_PID_FILE": f"{room}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none"
            ),
            "RUNNING_UNDER_SYSTEMD": "1",  # no shell between us and the server
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": _LOCAL,
        }
