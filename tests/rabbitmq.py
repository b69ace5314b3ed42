"""A real RabbitMQ for tests, as a child process on the loopback interface; no service is touched."""

import subprocess
from pathlib import Path

import pika
from pika.exceptions import AMQPError

from scripts.child import Child
from scripts.embedded import child_environment
from scripts.install import only_one
from scripts.ports import LOOPBACK, on_free_ports
from tests.installing import install_package

#: The server's own script: the one on PATH wants to be the service's user.
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_READY_S = 120.0
_PROBE_S = 2.0
#: Erlang's name service, the protocol between nodes (nobody uses it), and AMQP.
_PORTS = 3


class RabbitmqServer:
    """RabbitMQ and the Erlang name service that it needs, on three ports from ``port`` on."""

    port_count = _PORTS

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self.url = f"amqp://guest:guest@{LOOPBACK}:{port + 2}/"
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {LOOPBACK}:{port + 2}\n"
            "log.console = true\nlog.file = false\ndisk_free_limit.absolute = 1MB\n"
        )
        for name in ("env.conf", "enabled_plugins"):
            (directory / name).touch()
        self._names = Child(
            "epmd",
            ["epmd", "-port", str(port), "-address", LOOPBACK],
            environment=child_environment(),
            log=directory / "epmd.log",
            probe=lambda _pid: self._names_answers(),
        )
        self.child = Child(
            "rabbitmq",
            [str(RABBITMQ)],
            environment=self._environment(),
            log=directory / "rabbitmq.log",
            probe=lambda _pid: self._answers(),
        )

    def start(self) -> None:
        """Start the server, on the data that it had before, and wait until it answers."""
        if not self._names.running():
            self._names.start()
            self._names.wait_until_ready(_READY_S)
        self.child.start()
        self.child.wait_until_ready(_READY_S)

    def crash(self) -> None:
        """End RabbitMQ at once; ``start`` begins it anew."""
        self.child.kill()

    def kill(self) -> None:
        """End everything at once."""
        self.child.kill()
        self._names.kill()

    def _environment(self) -> dict[str, str]:
        directory = self._directory
        return {
            **child_environment(),
            "HOME": str(directory),  # where the cookie is kept
            "ERL_EPMD_PORT": str(self.port),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.port + 1),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_PID_FILE": str(directory / "rabbitmq.pid"),
            "RABBITMQRABBITMQ_ADDITIONAL_ERL_ARGS": "+S 1 +sbwt none -start_epmd false "
            "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _names_answers(self) -> bool:
        environment = {**child_environment(), "ERL_EPMD_PORT": str(self.port)}
        asked = subprocess.run(["epmd", "-names"], env=environment, capture_output=True)
        return asked.returncode == 0

    def _answers(self) -> bool:
        parameters = pika.URLParameters(self.url)
        parameters.socket_timeout = parameters.stack_timeout = _PROBE_S
        try:
            pika.BlockingConnection(parameters).close()
        except (AMQPError, OSError):
            return False
        return True


def start_rabbitmq(directory: Path) -> RabbitmqServer:
    """Start a RabbitMQ on free ports."""
    return on_free_ports(lambda port: RabbitmqServer(directory, port), _PORTS)


def install_rabbitmq(lock_folder: Path) -> None:
    """Install the distribution's RabbitMQ without its service; needs root. Raises Missing."""
    with only_one(lock_folder):
        if not RABBITMQ.exists():
            install_package("rabbitmq-server")
