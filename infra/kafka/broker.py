"""A real Kafka broker as an ordinary process: one node, KRaft, on the loopback interface.

    python -m infra.kafka.broker start     # fetches Kafka from Maven Central once, then starts it
    python -m infra.kafka.broker status
    python -m infra.kafka.broker stop

Needs a Java runtime (17 or newer) and, for the first start, Maven. For trying things out and for
tests; a production cluster is run by its own means.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = HERE / "libs"
DEFAULT_FOLDER = Path(".foreshock") / "kafka"
DEFAULT_PORT = 9092

_START_SECONDS = 90.0
_STOP_SECONDS = 30.0
_PASSWORD_OF_KEYS = "foreshock"  # noqa: S105 (of a key that is made for one run and never leaves it)
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")


class BrokerFailed(Exception):
    """The broker could not be fetched, started or stopped; the message says what to do."""


def missing() -> str | None:
    """What is not there that a broker needs, as a sentence; None where all is there."""
    if shutil.which("java") is None:
        return "Java is not installed (apt-get install default-jre-headless)"
    if not any(LIBRARIES.glob("kafka_*.jar")) and shutil.which("mvn") is None:
        return "Kafka is not fetched yet, and Maven is not installed (apt-get install maven)"
    return None


def fetch() -> None:
    """Fetches the broker's jars, 43 MB, unless they are there; raises BrokerFailed."""
    if any(LIBRARIES.glob("kafka_*.jar")):
        return
    partial = LIBRARIES.with_suffix(".partial")
    command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    _run([*command, f"-DoutputDirectory={partial}"], "Kafka could not be fetched with Maven")
    partial.rename(LIBRARIES)


@dataclass(frozen=True)
class Security:
    """Listeners besides the plain one: SASL (PLAIN, SCRAM) and TLS. `users`: name -> password.

    Clients of the plain and the TLS listener may do everything, users of SASL what ACLs allow them.
    """

    users: dict[str, str]


class Broker:
    """One broker with its data in `folder`; the same folder and ports after a stop or a kill."""

    def __init__(self, folder: Path, *, port: int | None = None, security: Security | None = None):
        self.folder = folder.resolve()
        self.port = port or free_port()
        self._security = security
        self._controller_port = free_port()
        self._sasl_port = free_port()
        self._tls_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def sasl_address(self) -> str:
        return f"127.0.0.1:{self._sasl_port}"

    @property
    def tls_address(self) -> str:
        return f"localhost:{self._tls_port}"

    @property
    def certificate(self) -> Path:
        """The certificate of the TLS listener, which is its own authority."""
        return self.folder / "certificate.pem"

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    @property
    def process(self) -> int | None:
        """The number of its process, where it was started here."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Starts it and waits until it answers; raises BrokerFailed."""
        if reason := missing():
            raise BrokerFailed(f"The broker cannot be started: {reason}.")
        fetch()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [*_java(), "kafka.Kafka", str(self._properties)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,  # a Ctrl-C at the terminal is for the client
            )
        self._pid_file.write_text(f"{self._process.pid} {self.address}")
        self._wait()

    def stop(self) -> None:
        """Ends it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._end(signal.SIGKILL)

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _pid_file(self) -> Path:
        return self.folder / "broker.pid"

    def _format(self) -> None:
        if self._security:
            self._make_keys()
        self._properties.write_text("".join(f"{k}={v}\n" for k, v in self._settings().items()))
        self._properties.chmod(0o600)  # it holds passwords
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        command = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster}"]
        users = self._security.users if self._security else {}
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            for name, password in users.items():
                command += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
        command += ["-c", str(self._properties)]
        _run([*_java(), *command], "The broker's folder could not be made ready")

    def _settings(self) -> dict[str, str]:
        listeners = {"PLAINTEXT": f"127.0.0.1:{self.port}"}
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self._controller_port}",
            "log.dirs": str(self.folder / "data"),
            "num.partitions": "1",
            "auto.create.topics.enable": "false",
            # Records may be dated by their event time: a week's retention would remove history.
            "log.retention.ms": "-1",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        if self._security:
            listeners |= {
                "SASL_PLAINTEXT": f"127.0.0.1:{self._sasl_port}",
                "SSL": f"localhost:{self._tls_port}",
            }
            settings |= self._security_settings(self._security.users)
        protocols = ("CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in listeners))
        settings["listener.security.protocol.map"] = ",".join(protocols)
        advertised = [f"{name}://{address}" for name, address in listeners.items()]
        settings["advertised.listeners"] = ",".join(advertised)
        controller = f"CONTROLLER://127.0.0.1:{self._controller_port}"
        settings["listeners"] = ",".join([*advertised, controller])
        return settings

    def _security_settings(self, users: dict[str, str]) -> dict[str, str]:
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
        return {
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{plain} {known};",
            "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": scram,
            "ssl.keystore.location": str(self.folder / "keys.p12"),
            "ssl.keystore.password": _PASSWORD_OF_KEYS,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def _make_keys(self) -> None:
        keys = ["-keystore", str(self.folder / "keys.p12"), "-storepass", _PASSWORD_OF_KEYS]
        named = ["-dname", "CN=localhost", "-ext", "SAN=dns:localhost,ip:127.0.0.1"]
        kind = ["-alias", "broker", "-keyalg", "EC", "-validity", "3650", "-ext", "BC=ca:true"]
        failed = "The broker's key could not be made"
        _run(["keytool", "-genkeypair", *kind, *named, *keys], failed)
        written = ["-rfc", "-file", str(self.certificate)]
        _run(["keytool", "-exportcert", "-alias", "broker", *written, *keys], failed)

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(self.port):
            if self._process is None or self._process.poll() is not None:
                raise BrokerFailed(f"The broker ended while it started; see {self.log}.")
            if time.monotonic() > deadline:
                self.kill()
                raise BrokerFailed(f"The broker does not answer; see {self.log}.")
            time.sleep(0.05)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._pid_file.unlink(missing_ok=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _java() -> list[str]:
    return [
        "java",
        *_JVM,
        f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}",
        "-cp",
        f"{LIBRARIES}/*",
    ]


def _run(command: list[str], failed: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        said = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
        raise BrokerFailed(f"{failed}: {said[-500:]}")


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _running(folder: Path) -> tuple[int, str] | None:
    """Process id and address of the broker that was started in `folder` and is still there."""
    try:
        pid, address = (folder / "broker.pid").read_text().split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return (int(pid), address) if b"kafka.Kafka" in command else None


def _start(folder: Path, port: int) -> None:
    if running := _running(folder):
        print(f"Kafka is running already at {running[1]} (process {running[0]}).")
        return
    broker = Broker(folder, port=port)
    broker.start()
    print(f"Kafka is running at {broker.address}; its data and log are in {broker.folder}.")


def end(folder: Path) -> bool:
    """Ends the broker of `folder`, whoever started it; False where it does not run."""
    running = _running(folder)
    if running is None:
        return False
    os.kill(running[0], signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _running(folder):
        if time.monotonic() > deadline:
            raise BrokerFailed(f"Process {running[0]} does not end; see {folder / 'broker.log'}.")
        time.sleep(0.1)
    (folder / "broker.pid").unlink(missing_ok=True)
    return True


def _status(folder: Path) -> int:
    running = _running(folder)
    print(f"Kafka is running at {running[1]}." if running else "Kafka is not running.")
    return 0 if running else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.kafka.broker", description="A Kafka broker for one machine."
    )
    parser.add_argument("action", choices=["fetch", "start", "stop", "status"])
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="data, log, pid file")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    given = parser.parse_args()
    try:
        match given.action:
            case "fetch":
                fetch()
            case "start":
                _start(given.folder, given.port)
            case "stop":
                print("Kafka has stopped." if end(given.folder) else "Kafka is not running.")
            case _:
                return _status(given.folder)
    except BrokerFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
