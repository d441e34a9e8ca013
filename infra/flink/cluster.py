"""A small Flink cluster as ordinary processes on the loopback interface, for Beam's Python graphs.

    python -m infra.flink.cluster start     # fetches Flink from Maven Central once, then starts it
    python -m infra.flink.cluster status
    python -m infra.flink.cluster stop

One JobManager, one TaskManager or more, Beam's job server, and the pool that starts the Python
workers. Needs Linux, a Java runtime (17 or newer) and, for the first start, Maven. For trying
things out, for tests, and for a job that one machine can carry.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = HERE / "libs"
CONFIGURATION = HERE / "flink-conf.yaml"
DEFAULT_FOLDER = Path(".foreshock") / "flink"

_START_SECONDS = 180.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.1

# Each process carries its cluster and its part in its environment, and is found by them alone:
# a number in a file may have become another process's.
_CLUSTER = "FORESHOCK_CLUSTER"
_PART = "FORESHOCK_PART"
_WORKER = "worker"

_SMALL_JVM = ("-Xmx256m", "-XX:MaxMetaspaceSize=192m")
_TASK_MANAGER_JVM = ("-Xmx640m", "-XX:MaxMetaspaceSize=192m", "-XX:MaxDirectMemorySize=320m")


class ClusterFailed(Exception):
    """The cluster could not be fetched, started or stopped; the message says what to do."""


def missing() -> str | None:
    """What is not there that a cluster needs, as a sentence; None where all is there."""
    if not Path("/proc/self/environ").exists():
        return "a cluster on this machine needs Linux"
    if shutil.which("java") is None:
        return "Java is not installed (apt-get install default-jre-headless)"
    if not _fetched() and shutil.which("mvn") is None:
        return "Flink is not fetched yet, and Maven is not installed (apt-get install maven)"
    return None


def fetch() -> None:
    """Fetches the cluster's jars, 157 MB, unless they are there; raises ClusterFailed."""
    if _fetched():
        return
    partial = LIBRARIES.with_suffix(".partial")
    goals = ["compiler:compile", "dependency:copy-dependencies"]
    command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), *goals]
    done = subprocess.run(  # noqa: S603
        [*command, f"-DoutputDirectory={partial}"], capture_output=True, check=False
    )
    if done.returncode:
        said = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
        raise ClusterFailed(f"Flink could not be fetched with Maven: {said[-500:]}")
    partial.rename(LIBRARIES)


def _fetched() -> bool:
    return LIBRARIES.is_dir()


@dataclass(frozen=True)
class Ports:
    """Where the parts listen on 127.0.0.1."""

    rest: int = 8081
    rpc: int = 6123
    job_server: int = 8099
    artifacts: int = 8098
    workers: int = 50000

    @classmethod
    def free(cls) -> "Ports":
        """Ports that nobody uses now."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in fields(cls)]
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            return cls(*(one.getsockname()[1] for one in sockets))


@dataclass(frozen=True)
class Part:
    """One process of the cluster. `ready`: whether it answers."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]


class Cluster:
    """The processes that belong to `folder`, whoever started them; logs lie there, too.

    `task_managers` of `slots` each: that many tasks of one step run side by side.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Ports | None = None,
        task_managers: int = 1,
        slots: int = 2,
        beside: tuple[Part, ...] = (),
    ) -> None:
        """`beside`: other programs that live and end with the cluster."""
        self.folder = folder.resolve()
        self._slots = slots
        self._beside = beside
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = self._ports_in_use() or ports or Ports.free()
        numbers = range(1, task_managers + 1)
        self.job_manager = Part(
            "jobmanager",
            (
                *_java(*_SMALL_JVM),
                "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
                *self._conf,
            ),
            lambda: self._overview() is not None,
        )
        self.task_managers = tuple(self._task_manager(number) for number in numbers)
        self.job_server = Part(
            "jobserver",
            (
                *_java(*_SMALL_JVM, "-Dforeshock.provided=true"),
                "org.apache.beam.runners.flink.FlinkJobServerDriver",
                "--job-host=127.0.0.1",
                f"--job-port={self.ports.job_server}",
                f"--artifact-port={self.ports.artifacts}",
                "--expansion-port=-1",
                f"--flink-master=127.0.0.1:{self.ports.rest}",
                f"--artifacts-dir={self.folder / 'artifacts'}",
            ),
            lambda: _listens(self.ports.job_server),
        )
        self.worker_pool = Part(
            "workerpool",
            (sys.executable, "-m", "pipelines.live.workers", f"--port={self.ports.workers}"),
            lambda: _listens(self.ports.workers),
        )

    @property
    def rest(self) -> str:
        return f"http://127.0.0.1:{self.ports.rest}"

    @property
    def job_server_address(self) -> str:
        return f"127.0.0.1:{self.ports.job_server}"

    @property
    def workers_address(self) -> str:
        return f"127.0.0.1:{self.ports.workers}"

    @property
    def parts(self) -> tuple[Part, ...]:
        return (
            self.job_manager,
            *self.task_managers,
            self.job_server,
            self.worker_pool,
            *self._beside,
        )

    def start(self) -> list[str]:
        """Starts the parts that are not running, and gives their names; raises ClusterFailed.

        What a lost part leaves behind is ended first: TaskManagers without the JobManager that
        knew their tasks, workers without their TaskManager or pool.
        """
        if reason := missing():
            raise ClusterFailed(f"The cluster cannot be started: {reason}.")
        self._end_orphans()
        running = self.status()
        lacking = [part for part in self.parts if running[part.name] is None]
        if lacking:
            fetch()
            self._configure()
            for part in lacking:
                self._launch(part)
            self._wait_for(lacking)
        return [part.name for part in lacking]

    def stop(self) -> None:
        """Ends all parts in order, and whatever is left of them."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self.processes() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        self.kill()

    def kill(self, *parts: Part) -> None:
        """Ends these parts at once, as a crash would; without one, all, workers too."""
        names = [part.name for part in parts] or None
        while self._signal(signal.SIGKILL, names):
            time.sleep(_POLL_SECONDS)

    def status(self) -> dict[str, int | None]:
        """Part -> its process; None where it is not running."""
        found = self.processes()
        return {part.name: next(iter(found.get(part.name, ())), None) for part in self.parts}

    def processes(self) -> dict[str, list[int]]:
        """Part -> the processes that carry the mark of this cluster and of that part."""
        found: dict[str, list[int]] = {}
        for pid, environment in _environments():
            if environment.get(_CLUSTER) == str(self.folder):
                found.setdefault(environment.get(_PART, ""), []).append(pid)
        return found

    def workers(self) -> list[int]:
        """The processes in which Python code runs for tasks."""
        return self.processes().get(_WORKER, [])

    def log(self, part: Part) -> Path:
        """Where `part` writes what it has to say; of the pool, what workers say as well."""
        return self.folder / f"{part.name}.log"

    @property
    def _conf(self) -> tuple[str, str]:
        return "--configDir", str(self.folder / "conf")

    @property
    def _ports_file(self) -> Path:
        return self.folder / "ports.json"

    def _task_manager(self, number: int) -> Part:
        name = f"taskmanager-{number}"
        return Part(
            name,
            (
                *_java(*_TASK_MANAGER_JVM),
                "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
                *self._conf,
                f"-Dtaskmanager.resource-id={name}",
            ),
            lambda: (self._overview() or {}).get("taskmanagers", 0) >= number,
        )

    def _ports_in_use(self) -> Ports | None:
        if not self.processes():
            return None
        try:
            return Ports(**json.loads(self._ports_file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ClusterFailed(
                f"{self._ports_file} does not tell where the running cluster listens ({error}): "
                "end its processes, then start again."
            ) from error

    def _configure(self) -> None:
        settings = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": self.ports.rpc,
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self.ports.rest,
            "taskmanager.host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": self._slots,
            "taskmanager.cpu.cores": self._slots,
            "io.tmp.dirs": self.folder / "tmp",
        }
        for folder in ("conf", "tmp", "artifacts"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        written = "".join(f"{key}: {value}\n" for key, value in settings.items())
        (self.folder / "conf" / CONFIGURATION.name).write_text(CONFIGURATION.read_text() + written)
        self._ports_file.write_text(json.dumps(asdict(self.ports)))

    def _launch(self, part: Part) -> None:
        with self.log(part).open("ab") as log:
            self._processes[part.name] = subprocess.Popen(  # noqa: S603
                part.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, _CLUSTER: str(self.folder), _PART: part.name},
                start_new_session=True,  # a Ctrl-C at the terminal is for the client
            )

    def _wait_for(self, parts: Iterable[Part]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        for part in parts:
            while not part.ready():
                if self._processes[part.name].poll() is not None:
                    raise ClusterFailed(f"{part.name} ended at its start; see {self.log(part)}.")
                if time.monotonic() > deadline:
                    raise ClusterFailed(f"{part.name} does not answer; see {self.log(part)}.")
                time.sleep(_POLL_SECONDS)

    def _overview(self) -> dict[str, int] | None:
        try:
            with urllib.request.urlopen(f"{self.rest}/overview", timeout=5) as answer:  # noqa: S310
                found: dict[str, int] = json.load(answer)
                return found
        except (urllib.error.URLError, OSError, ValueError):
            return None

    def _end_orphans(self) -> None:
        found = self.processes()
        if self.job_manager.name not in found:
            self.kill(*self.task_managers)
        running = self.processes()
        if not all(part.name in running for part in (*self.task_managers, self.worker_pool)):
            while self._signal(signal.SIGKILL, [_WORKER]):
                time.sleep(_POLL_SECONDS)

    def _signal(self, how: signal.Signals, names: Iterable[str] | None = None) -> bool:
        """Whether there was one to signal."""
        found = self.processes()
        for process in self._processes.values():
            process.poll()  # or the dead stay as zombies
        pids = [pid for name in (found if names is None else names) for pid in found.get(name, [])]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        return bool(pids)


def _environments() -> Iterator[tuple[int, dict[str, str]]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            raw = (entry / "environ").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        pairs = (pair.partition("=") for pair in raw.decode("utf-8", "replace").split("\0"))
        yield int(entry.name), {name: value for name, _, value in pairs}


def _java(*options: str) -> tuple[str, ...]:
    return (
        "java",
        f"@{HERE / 'java.options'}",
        *options,
        "-cp",
        f"{LIBRARIES / 'patches'}:{LIBRARIES}/*",
    )


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _show(cluster: Cluster) -> int:
    status = cluster.status()
    for name, process in status.items():
        print(f"{name:<14} {'not running' if process is None else f'process {process}'}")
    if None in status.values():
        return 1
    print(f"Flink: {cluster.rest}   job server: {cluster.job_server_address}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.flink.cluster", description="A Flink cluster for one machine."
    )
    parser.add_argument("action", choices=["fetch", "start", "stop", "status"])
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="logs and settings")
    parser.add_argument("--task-managers", type=int, default=1)
    parser.add_argument("--slots", type=int, default=2, help="tasks side by side, a TaskManager")
    given = parser.parse_args()
    try:
        if given.action == "fetch":
            fetch()
            return 0
        cluster = Cluster(
            given.folder, ports=Ports(), task_managers=given.task_managers, slots=given.slots
        )
        if given.action == "start":
            cluster.start()
        elif given.action == "stop":
            cluster.stop()
            print("Flink has stopped.")
            return 0
        return _show(cluster)
    except ClusterFailed as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
