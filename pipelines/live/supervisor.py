"""Keeps one job alive: begins it where it stopped, begins it again when it is lost, and ends it.

Flink itself begins a job again when a TaskManager or a worker is lost. What Flink cannot mend is
its JobManager's death: then the job is handed over anew, from the newest complete checkpoint. The
same when nobody knows the job any more, or when it has failed for good.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from pipelines.live.flink import (
    END_OF_TIME_MILLISECONDS,
    Checkpoint,
    Flink,
    FlinkAway,
    FlinkError,
    Job,
    newest,
)
from pipelines.live.settings import LiveSettings
from pipelines.live.submission import GraphIdentity, Submission

LOOK_SECONDS = 1.0
SAVEPOINT_SECONDS = 120.0

_CANCEL_SECONDS = 60.0
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
_POLL_SECONDS = 0.2
_LONGEST_REASON = 300
_LOCK = "supervisor.lock"

Ending = Literal["complete", "stopped"]
"""`complete`: the input has ended, and all that follows from it is done. `stopped`: by somebody."""


class LiveError(FlinkError):
    """The live job cannot be begun or gone on with; the message says what to do."""


class Machinery(Protocol):
    """What the job runs on, where it is ours to start."""

    def start(self) -> list[str]:
        """Starts what is not running, and gives the names of it."""


class Watching(Protocol):
    """Who wants to know what the supervisor does."""

    def started(self, parts: list[str]) -> None:
        """Parts of the cluster were started."""

    def submitted(self, restored: Path | None) -> None:
        """The job was handed to Flink, with the state that lies at `restored`."""

    def waiting(self, reason: str, seconds: float) -> None:
        """Something is away or fails; it is tried again after so many seconds."""

    def seen(self, status: "Status") -> None:
        """The job, as it is now."""


class Status(msgspec.Struct, frozen=True):
    """A job at one moment. `state` is Flink's; `restarts`: by Flink, since it was handed over;
    `watermark`: event time that all steps have reached, milliseconds since 1970."""

    job: str
    state: str
    restarts: int
    watermark: int | None
    checkpoint: Checkpoint | None

    @property
    def complete(self) -> bool:
        """Whether the end of the input has come to every step."""
        return self.watermark is not None and self.watermark >= END_OF_TIME_MILLISECONDS


def status_of(flink: Flink, job: Job) -> Status:
    """What Flink tells of a job; raises FlinkError."""
    marks = flink.watermarks(job.id) if not job.over else []
    # The first step reads from nothing, so it has none; another without one has seen nothing.
    known = [mark for mark in marks[1:] if mark is not None]
    return Status(
        job.id,
        job.state,
        flink.restarts(job.id) if not job.over else 0,
        min(known) if known and len(known) == len(marks) - 1 else None,
        flink.last_checkpoint(job.id),
    )


class JobFolder:
    """Where one job keeps what it goes on from."""

    def __init__(self, settings: LiveSettings, name: str) -> None:
        self.path = settings.folder.absolute() / name
        self.checkpoints = self.path / "checkpoints"
        self.savepoints = self.path / "savepoints"
        self._graph = self.path / "graph.json"

    def newest(self) -> Path | None:
        """The newest complete checkpoint or savepoint."""
        return newest([self.checkpoints, self.savepoints])

    def accept(self, graph: GraphIdentity) -> None:
        """Notes the graph that the state here belongs to; raises LiveError for the state of another
        graph, which cannot be read, or would be read wrongly."""
        if self.newest() and (reason := self._unfit(graph)):
            raise LiveError(
                f"The job's state in {self.path} does not fit this program: {reason}. Go on with "
                "the program and the configuration that it was made with, or begin anew with "
                "--anew and --from."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._graph.write_bytes(msgspec.json.format(msgspec.json.encode(graph)))

    def forget(self) -> None:
        """Removes all state, so that the job begins anew."""
        for folder in (self.checkpoints, self.savepoints):
            shutil.rmtree(folder, ignore_errors=True)
        self._graph.unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else looks after this job meanwhile; raises LiveError where somebody does."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / _LOCK).open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                lock.seek(0)
                raise LiveError(
                    f"Process {lock.read().strip()} looks after this job already: leave it to "
                    "that one, or end it first."
                ) from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def is_held(self) -> bool:
        """Whether somebody looks after the job now."""
        with (self.path / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def _unfit(self, graph: GraphIdentity) -> str | None:
        try:
            made = msgspec.json.decode(self._graph.read_bytes(), type=GraphIdentity)
        except (OSError, msgspec.DecodeError):
            return "it does not say what it was made by"
        return made.difference(graph)


class Supervisor:
    """Looks after one job. `machinery`: None where somebody else keeps the cluster running."""

    def __init__(
        self,
        submission: Submission,
        settings: LiveSettings,
        *,
        machinery: Machinery | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.name = submission.name
        self.folder = JobFolder(settings, submission.name)
        self.flink = Flink(settings.flink)
        self._submission = submission
        self._machinery = machinery
        self._sleep = sleep
        self._followed: str | None = None
        self._failures = 0

    def running(self) -> Job | None:
        """The job, where Flink runs it; raises FlinkError."""
        return next((job for job in self.flink.jobs(self.name) if not job.over), None)

    def run(self, watching: Watching) -> Ending:
        """Keeps the job alive until it ends; attaches to one that is running already.

        Raises FlinkError where it cannot be begun at all; later troubles are waited out.
        """
        self._watching = watching
        with self.folder.held():
            self._start_machinery()
            self.folder.accept(self._submission.identity)
            while True:
                try:
                    ending = self._look()
                except FlinkError as error:
                    if self._followed is None:
                        raise
                    self._wait(error)
                else:
                    if ending:
                        return ending
                    self._sleep(LOOK_SECONDS)

    def _start_machinery(self) -> None:
        if self._machinery and (parts := self._machinery.start()):
            self._watching.started(parts)

    def _look(self) -> Ending | None:
        self._start_machinery()
        jobs = self.flink.jobs(self.name)
        running = [job for job in jobs if not job.over]
        for second in running[1:]:
            cancel(self.flink, second)
        if running:
            return self._follow(running[0])
        ours = next((job for job in jobs if job.id == self._followed), None)
        if ours and ours.state == "CANCELED":
            return "stopped"
        if ours and ours.state == "FINISHED":
            return self._complete()
        if ours:
            self._wait(FlinkError(f"The job has failed: {_reason(self.flink, ours)}"))
        self._submit()
        return None

    def _follow(self, job: Job) -> Ending | None:
        self._followed = job.id
        if job.state != "RUNNING":
            return None
        status = status_of(self.flink, job)
        self._watching.seen(status)
        if status.checkpoint:
            self._failures = 0
        if not status.complete:
            return None
        # Its barrier passes the last step behind all that the end of the input gave.
        if not _end_with_savepoint(self.flink, job, self.folder.savepoints, SAVEPOINT_SECONDS):
            raise FlinkError("The input has ended, but what followed from it is not confirmed yet.")
        return self._complete()

    def _complete(self) -> Ending:
        # From a state at the end of the input nothing would be read, ever.
        self.folder.forget()
        return "complete"

    def _submit(self) -> None:
        restore = self.folder.newest()
        self._submission.submit(self.folder.checkpoints, restore, self._has_arrived)
        self._watching.submitted(restore)

    def _has_arrived(self) -> bool:
        new = [job.id for job in self.flink.jobs(self.name) if not job.over]
        self._followed = next(iter(new), self._followed)
        return bool(new)

    def _wait(self, error: FlinkError) -> None:
        seconds = min(_LONGEST_WAIT, _FIRST_WAIT * 2**self._failures)
        if not isinstance(error, FlinkAway):
            self._failures += 1
        self._watching.waiting(str(error), seconds)
        self._sleep(seconds)


def stop(
    flink: Flink, job: Job, savepoints: Path, *, seconds: float = SAVEPOINT_SECONDS
) -> Path | None:
    """Ends a job with a savepoint, and gives where that lies.

    None where it could not be made in time, for instance while the store is away: then the job
    ended without, and goes on from its newest checkpoint.
    """
    path = _end_with_savepoint(flink, job, savepoints, seconds)
    if path is None:
        cancel(flink, job)
    return path


def cancel(flink: Flink, job: Job) -> None:
    """Ends a job at once, and waits until it is over; its checkpoints stay."""
    flink.cancel(job.id)
    _wait_until_over(flink, job)


def _end_with_savepoint(flink: Flink, job: Job, folder: Path, seconds: float) -> Path | None:
    """Where the savepoint lies; None where there is none in time, and the job goes on."""
    request = flink.ask_savepoint(job.id, folder, then_cancel=True)
    deadline = time.monotonic() + seconds
    done = flink.savepoint(job.id, request)
    while done.state != "COMPLETED" and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        done = flink.savepoint(job.id, request)
    if done.path is None:
        return None
    _wait_until_over(flink, job)
    return Path(done.path.removeprefix("file:"))


def _wait_until_over(flink: Flink, job: Job) -> None:
    deadline = time.monotonic() + _CANCEL_SECONDS
    while any(one.id == job.id and not one.over for one in flink.jobs(job.name)):
        if time.monotonic() > deadline:
            raise FlinkError(f"Job {job.id} does not end: restart its TaskManagers.")
        time.sleep(_POLL_SECONDS)


def _reason(flink: Flink, job: Job) -> str:
    trace = flink.failure(job.id) or "Flink gives no reason"
    causes = [line for line in trace.splitlines() if line and not line.startswith(("\t", " "))]
    return " ".join(causes[-1].split())[:_LONGEST_REASON]
