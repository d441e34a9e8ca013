"""A live job while `foreshock live` runs: what is started around it, and what people see of it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType

import msgspec
from rich.status import Status as Spinner
from sqlalchemy import make_url

from connectors.kafka.intake import IntakeSettings
from connectors.kafka.places import parse_place
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import create_topic
from connectors.store import Store
from infra.observers import Observers
from infra.postgresql.server import programs
from pipelines.command.console import err, inert, out, print_json, remark
from pipelines.command.options import author_key
from pipelines.configuration import Configuration
from pipelines.live.flink import FlinkError
from pipelines.live.graph import VERSION, LiveJob, build
from pipelines.live.job import LiveResult, prepare, reconciled
from pipelines.live.local import (
    LocalBroker,
    LocalMachinery,
    LocalStore,
    alert_process,
    taken_down,
)
from pipelines.live.settings import LiveSettings
from pipelines.live.source import Reading
from pipelines.live.status import LiveStatus, Observer, write_status
from pipelines.live.submission import Submission
from pipelines.live.supervisor import Machinery, Status, Supervisor, stop
from pipelines.metrics.endpoint import endpoint
from pipelines.metrics.instruments import metrics
from pipelines.produce import produce
from pipelines.runs import finish_run
from pipelines.sample import SAMPLE
from pipelines.sources import File, Parsing
from pipelines.telemetry.logs import LEVEL, configure

_PARTITIONS = 3
_LOGGED = re.compile(rb"\{|(?:\x1b\[\d*m)*\d{4}-\d\d-\d\dT")
"""How a line of a log begins."""
_DEMO_SOURCE = "stocknet"
_DEMO_SPEED = 200_000.0
"""Seconds of event time a second: five months in about a minute."""


def job_name(topic: str) -> str:
    """What the job of a topic is called, in Flink's lists and in its folder."""
    return f"foreshock-{topic}"


@dataclass(frozen=True)
class Local:
    """What is started here, and where it keeps its data. `full`: with those who watch."""

    folder: Path
    own_broker: bool
    alerts: bool
    store: LocalStore | None = None
    full: bool = False


@dataclass(frozen=True, kw_only=True)
class Session:
    """One run of the command. `local`: None where the cluster is somebody else's."""

    configuration: Configuration
    config: Path | None
    settings: LiveSettings
    kafka: KafkaSettings
    topic: str
    database: str
    parsing: Parsing
    start: str
    until_idle: float | None
    publish: bool
    anew: bool
    local: Local | None
    demo: bool
    json: bool

    def run(self) -> None:
        """Until the job ends or is stopped; raises what the parts of it raise."""
        signal.signal(signal.SIGTERM, _interrupt)
        configure(self.configuration.logs)
        metrics_page = self.configuration.metrics
        if self.local and self.local.full and metrics_page.port is None:
            metrics_page = msgspec.structs.replace(metrics_page, port=0)
        with endpoint(metrics_page) as page:
            if page:
                remark(f"Metrics: {page}")
            if self.local:
                self._run_local(self.local, page)
            else:
                self._run(self.kafka, self.settings, None)

    def _run_local(self, local: Local, page: str | None) -> None:
        broker = LocalBroker(local.folder / "kafka") if local.own_broker else None
        alerts = alert_process(self.database, self.config) if local.alerts else None
        store = local.store
        observers = self._observers(local, page) if local.full and page else None
        machinery = LocalMachinery(local.folder / "flink", broker, alerts, store, observers)
        with taken_down(machinery, broker, store):
            machinery.end_observers()
            if store:
                store.prepare()
            if observers and "Grafana" in observers.addresses:
                _build_dashboards(observers.dashboards, self.database)
            kafka = self.kafka
            if broker:
                err.print("Starting Kafka and Flink; the first time, 200 MB are fetched")
                broker.start()
                kafka = msgspec.structs.replace(kafka, brokers=broker.address)
            create_topic(kafka, self.topic, _PARTITIONS)
            for name in msgspec.structs.astuple(kafka.topics)[1:]:
                create_topic(kafka, name, 1)
            self._run(kafka, machinery.at(self.settings), machinery)

    def _run(
        self, kafka: KafkaSettings, settings: LiveSettings, machinery: LocalMachinery | None
    ) -> None:
        job = self._job(kafka)
        supervisor = self._supervisor(job, settings, machinery)
        with ExitStack() as stack:
            screen = stack.enter_context(_screen(job, supervisor, settings, machinery))
            if self.demo:
                stack.enter_context(_playing(kafka, self.topic))
            try:
                ending = supervisor.run(screen)
            except KeyboardInterrupt:
                self._leave(supervisor, machinery)
                raise
        if ending == "stopped":
            err.print("The job was stopped by somebody else; the same command goes on from there.")
            return
        _note_the_end(job)
        if machinery:
            machinery.cluster.stop()
        if machinery and machinery.alerts:
            # It may not have looked at what came last. People see what it prints.
            subprocess.run(  # noqa: S603
                [*machinery.alerts.command, "--once"],
                check=True,
                stdout=sys.stderr,
                env={**os.environ, LEVEL: "warning"},
            )
        self._show(reconciled(job))

    def _observers(self, local: Local, page: str) -> Observers:
        where = str(local.store.folder) if local.store else make_url(self.database).host
        found = Observers(local.folder / "observers", page, where or "")
        missing = [*found.missing, *([] if programs() else ["PostgreSQL"])]
        if missing:
            remark(f"Not installed, and left out: {', '.join(missing)}", trouble=True)
        return found

    def _job(self, kafka: KafkaSettings) -> LiveJob:
        reading = Reading(
            kafka,
            self.topic,
            lateness=self.configuration.lateness,
            parsing=self.parsing,
            author_key=author_key,
            pace=IntakeSettings(kafka.idle_seconds, kafka.look_seconds, self.until_idle),
        )
        return prepare(
            reading,
            database=self.database,
            configuration=msgspec.structs.replace(self.configuration, kafka=kafka),
            start=parse_place(self.start),
            publish=self.publish,
            anew=self.anew,
        )

    def _supervisor(
        self, job: LiveJob, settings: LiveSettings, machinery: Machinery | None
    ) -> Supervisor:
        hashes = f"configuration {job.context.configuration_hash}, run {job.run_id}"
        submission = Submission(
            partial(build, job=job),
            settings,
            name=job_name(self.topic),
            version=f"graph {VERSION}, {hashes}",
        )
        supervisor = Supervisor(submission, settings, machinery=machinery)
        if self.anew:
            with supervisor.folder.held():
                supervisor.folder.forget()
        return supervisor

    def _leave(self, supervisor: Supervisor, machinery: LocalMachinery | None) -> None:
        if machinery is None:
            err.print(
                "The job goes on without being looked after; `foreshock live stop` stops it, and "
                "the same command looks after it again."
            )
            return
        err.print("Stopping with a savepoint; Ctrl-C again to stop at once")
        try:
            if job := supervisor.running():
                say_stopped(stop(supervisor.flink, job, supervisor.folder.savepoints))
        except FlinkError as error:
            err.print(inert(f"{error} The job goes on from its newest checkpoint."), markup=False)

    def _show(self, result: LiveResult) -> None:
        if self.json:
            print_json(msgspec.to_builtins(result))
            return
        out.print(
            f"Read {result.read:,} = {result.stored:,} stored + {result.duplicates:,} duplicates "
            f"+ {result.dead_letters:,} dead letters; {result.late:,} came late"
        )
        out.print(f"{result.alerts:,} alerts from {result.spikes:,} spikes", style="bold")
        out.print(
            f"All alerts: foreshock alerts list --database {self.database}",
            markup=False,
            soft_wrap=True,
        )


def _build_dashboards(folder: Path, database: str) -> None:
    told = ["dashboards", "build", "--out", str(folder), "--database", database]
    subprocess.run([sys.executable, "-m", "pipelines", *told], check=True, stdout=sys.stderr)  # noqa: S603


def _note_the_end(job: LiveJob) -> None:
    """The job says so itself, but was perhaps stopped after it had."""
    with Store.existing(job.database) as store, store.transaction() as tx:
        finish_run(tx, job.run_id, datetime.now(UTC))


class _Screen:
    """What people see: a line that moves, remarks above it, and alerts as they come."""

    def __init__(
        self,
        observer: Observer,
        supervisor: Supervisor,
        spinner: Spinner,
        alerts: "_Tail | None",
        addresses: dict[str, str],
    ) -> None:
        self._observer = observer
        self._supervisor = supervisor
        self._spinner = spinner
        self._alerts = alerts
        self._addresses = addresses
        self._handed_over = 0
        self._checkpoint = 0
        self._started: set[str] = set()

    def started(self, parts: list[str]) -> None:
        again = [part for part in parts if part in self._started]
        for part in again:
            metrics().restarted(part)
        if again:
            remark(f"Started again: {', '.join(again)}", trouble=True)
        self._started.update(parts)
        for name, address in self._addresses.items():
            remark(f"{name}: {address}")
        self._addresses = {}

    def submitted(self, restored: Path | None) -> None:
        self._handed_over += 1
        if self._handed_over > 1:
            metrics().restarted("job")
        remark(f"The job goes on from {restored}" if restored else "The job begins")

    def waiting(self, reason: str, seconds: float) -> None:
        remark(f"{reason} Trying again in {seconds:g} s.", trouble=True)

    def seen(self, status: Status) -> None:
        whole = self._observer.complete(status, self._handed_over)
        write_status(self._supervisor.folder, whole)
        if status.checkpoint and status.checkpoint.id != self._checkpoint:
            self._checkpoint = status.checkpoint.id
            completed = datetime.fromtimestamp(status.checkpoint.at / 1000, UTC)
            metrics().checkpoint(completed, status.checkpoint.size)
        self._spinner.update(inert(line(whole)))
        for alert in self._alerts.new() if self._alerts else ():
            self._spinner.console.print(inert(alert), markup=False, soft_wrap=True)


class _Tail:
    """The lines that are added to a file from now on, but for what is logged there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0

    def new(self) -> Iterator[str]:
        if not self._path.exists():
            return
        with self._path.open("rb") as lines:
            lines.seek(self._at)
            for text in lines:
                if not text.endswith(b"\n"):
                    return
                self._at += len(text)
                if not _LOGGED.match(text):
                    yield text.decode("utf-8", "replace").rstrip()


@contextmanager
def _screen(
    job: LiveJob,
    supervisor: Supervisor,
    settings: LiveSettings,
    machinery: LocalMachinery | None,
) -> Iterator[_Screen]:
    observer = Observer(job, supervisor.name, settings.flink)
    alerts = None
    if machinery and machinery.alerts:
        alerts = _Tail(machinery.cluster.log(machinery.alerts))
    with err.status("Starting") as spinner:
        addresses = machinery.addresses if machinery else {}
        yield _Screen(observer, supervisor, spinner, alerts, addresses)


@contextmanager
def _playing(kafka: KafkaSettings, topic: str) -> Iterator[None]:
    """Plays the sample meanwhile."""
    player = threading.Thread(target=_play, args=(kafka, topic), daemon=True)
    player.start()
    yield


def _play(kafka: KafkaSettings, topic: str) -> None:
    sent = produce(
        [File(SAMPLE)],
        kafka,
        topic,
        dead_letters=kafka.topics.dead_letters,
        speed=_DEMO_SPEED,
        parsing=Parsing(source=_DEMO_SOURCE),
        author_key=None,
        watching=_Quiet(),
    )
    err.print(f"Played {sent.messages:,} real tweets of 2014 into the topic {topic}", markup=False)


class _Quiet:
    def reading(self, name: str, done: int, size: int) -> None: ...

    def remark(self, text: str) -> None: ...

    def producing(self, sent: int, total: int, at: datetime) -> None: ...


def line(status: LiveStatus) -> str:
    """A job in one line."""
    parts = [status.state.lower()]
    if status.watermark:
        parts.append(f"event time {status.watermark:%Y-%m-%d %H:%M}")
    if status.read is not None:
        rate = f" ({status.rate:,.0f}/s)" if status.rate is not None else ""
        parts.append(f"read {status.read:,}{rate}")
    if status.behind is not None:
        parts.append(f"{status.behind:,} behind")
    if status.checkpoint_at:
        parts.append(f"checkpoint {ago(status.checkpoint_at)}")
    restarts = status.restarts + max(0, status.handed_over - 1)
    return ", ".join([*parts, f"{restarts:,} restarts"])


def ago(at: datetime) -> str:
    """How long ago, in seconds or minutes."""
    seconds = max(0.0, (datetime.now(UTC) - at).total_seconds())
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


def say_stopped(savepoint: Path | None) -> None:
    """What a stop has left."""
    if savepoint:
        err.print(f"Stopped; the savepoint is {savepoint}", markup=False, soft_wrap=True)
    else:
        err.print(
            "Stopped without a savepoint, which could not be made in time: the job goes on from "
            "its newest checkpoint."
        )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
