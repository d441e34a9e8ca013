"""All that a live job needs, on this machine: broker, Flink, and the alert process beside it; on
request a PostgreSQL, and those who watch.

What was started here is taken down here; what was running already, or is somebody else's, stays.
"""

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from connectors.store import Store
from infra.flink.cluster import Cluster, ClusterFailed, Part
from infra.kafka.broker import Broker, BrokerFailed, end
from infra.observers import Observers
from infra.postgresql.server import Server, ServerFailed, programs
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


class LocalStore:
    """A PostgreSQL with its data in `folder`; what an earlier start left running is ours, too."""

    def __init__(self, folder: Path) -> None:
        self._server = Server(folder)

    @classmethod
    def found(cls, folder: Path) -> "LocalStore | None":
        """None where PostgreSQL is not installed."""
        return cls(folder) if programs() else None

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def folder(self) -> Path:
        return self._server.folder

    def prepare(self) -> None:
        """Starts it, and makes its tables or brings them to this version; raises StoreError too."""
        self.start()
        Store.upgrade(self.url)

    def start(self) -> list[str]:
        """Starts it unless it runs, and says whether that was needed."""
        try:
            return ["postgresql"] if self._server.start() else []
        except ServerFailed as error:
            raise LocalFailed(str(error)) from error

    def stop(self) -> None:
        """Ends it."""
        try:
            self._server.stop()
        except ServerFailed as error:
            raise LocalFailed(str(error)) from error


def alert_process(database: str, config: Path | None) -> Part:
    """What turns into alerts what the job finds, unless another does; the store must be there."""
    command = [sys.executable, "-m", "pipelines", "alerts", "run", "--standby"]
    command += ["--database", database]
    if config:
        command += ["--config", str(config.absolute())]
    return Part("alerts", tuple(command), lambda: True)


class LocalMachinery:
    """Broker, store and alert process, each None where it is somebody else's, and the cluster with
    its observers."""

    def __init__(
        self,
        folder: Path,
        broker: LocalBroker | None,
        alerts: Part | None,
        store: LocalStore | None = None,
        observers: Observers | None = None,
    ) -> None:
        self._observers = observers.parts if observers else []
        self.alerts = alerts
        self.addresses = {"Store": store.url} if store else {}
        self.addresses |= observers.addresses if observers else {}
        self.cluster = Cluster(folder, beside=(*([alerts] if alerts else []), *self._observers))
        self._broker = broker
        self._store = store

    def end_observers(self) -> None:
        """Ends those that an earlier start has left: they have other addresses."""
        if self._observers:
            self.cluster.kill(*self._observers)

    def start(self) -> list[str]:
        """Starts what is not running, and gives the names of it; raises LocalFailed."""
        started = self._broker.start() if self._broker else []
        started += self._store.start() if self._store else []
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
def taken_down(
    machinery: LocalMachinery, broker: LocalBroker | None, store: LocalStore | None = None
) -> Iterator[None]:
    """Takes everything down at the end of the block, however it ends."""
    with ExitStack() as stack:
        if broker:
            stack.callback(broker.stop)
        if store:
            stack.callback(store.stop)
        stack.callback(machinery.cluster.stop)
        yield


def end_leftovers(folder: Path) -> None:
    """Ends what an earlier start has left running in `folder`, which is to be removed."""
    try:
        Cluster(folder / "flink").stop()
        end(folder / "kafka")
    except (ClusterFailed, BrokerFailed) as error:
        raise LocalFailed(str(error)) from error
    LocalStore(folder / "postgresql").stop()


def _port_of(folder: Path) -> int | None:
    """The port that a broker's folder was made for."""
    try:
        settings = (folder / "server.properties").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    found = _LISTENER.search(settings)
    return int(found[1]) if found else None
