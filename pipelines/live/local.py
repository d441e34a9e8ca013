"""All that a live job needs, on this machine: broker, Flink, and the alert process beside it.

What was started here is taken down here; what was running already, or is somebody else's, stays.
"""

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from infra.flink.cluster import Cluster, ClusterFailed, Part
from infra.kafka.broker import Broker, BrokerFailed
from pipelines.live.flink import FlinkError
from pipelines.live.settings import LiveSettings

_LISTENER = re.compile(r"PLAINTEXT://127\.0\.0\.1:(\d+)")


class LocalFailed(FlinkError):
    """Something could not be started on this machine; the message says what to do."""


class LocalBroker:
    """A broker with its data in `folder`, at the port that it had before."""

    def __init__(self, folder: Path) -> None:
        self._broker = Broker(folder, port=_port_of(folder))
        self._ours = False

    @property
    def address(self) -> str:
        return self._broker.address

    def start(self) -> list[str]:
        """Starts it unless it runs, and says whether that was needed."""
        host, _, port = self.address.partition(":")
        with socket.socket() as client:
            if client.connect_ex((host, int(port))) == 0:
                return []
        try:
            self._broker.start()
        except BrokerFailed as error:
            raise LocalFailed(str(error)) from error
        self._ours = True
        return ["broker"]

    def stop(self) -> None:
        """Ends it where it was started here."""
        if self._ours:
            self._broker.stop()


def alert_process(database: str, config: Path | None) -> Part:
    """What turns into alerts what the job finds, unless another does; the store must be there."""
    command = [sys.executable, "-m", "pipelines", "alerts", "run", "--standby"]
    command += ["--database", database]
    if config:
        command += ["--config", str(config.absolute())]
    return Part("alerts", tuple(command), lambda: True)


class LocalMachinery:
    """Broker and alert process, each None where it is somebody else's, and the cluster."""

    def __init__(self, folder: Path, broker: LocalBroker | None, alerts: Part | None) -> None:
        self.alerts = alerts
        self.cluster = Cluster(folder, beside=(alerts,) if alerts else ())
        self._broker = broker

    def start(self) -> list[str]:
        """Starts what is not running, and gives the names of it; raises LocalFailed."""
        started = self._broker.start() if self._broker else []
        try:
            return [*started, *self.cluster.start()]
        except ClusterFailed as error:
            raise LocalFailed(str(error)) from error

    def at(self, settings: LiveSettings) -> LiveSettings:
        """`settings` with the addresses of this cluster."""
        return msgspec.structs.replace(
            settings,
            flink=self.cluster.rest,
            job_server=self.cluster.job_server_address,
            workers=self.cluster.workers_address,
        )


@contextmanager
def taken_down(broker: LocalBroker | None, machinery: LocalMachinery) -> Iterator[None]:
    """Takes everything down at the end of the block, however it ends."""
    try:
        yield
    finally:
        machinery.cluster.stop()
        if broker:
            broker.stop()


def _port_of(folder: Path) -> int | None:
    """The port that a broker's folder was made for."""
    try:
        settings = (folder / "server.properties").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    found = _LISTENER.search(settings)
    return int(found[1]) if found else None
