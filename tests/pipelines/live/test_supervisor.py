import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
import pytest

from infra.flink.cluster import Cluster
from pipelines.live.flink import Flink, FlinkAway, Job
from pipelines.live.settings import LiveSettings
from pipelines.live.submission import Submission
from pipelines.live.supervisor import JobFolder, LiveError, Status, Supervisor, status_of, stop
from tests.servers import streaming
from tests.servers.flink import settings_for

_DEADLINE_SECONDS = 120
_numbers = count(1)


class _Killed(Exception):
    """Ends a supervisor wherever it is, as a kill would."""


@dataclass
class _Seen:
    submissions: list[Path | None] = field(default_factory=list)
    status: Status | None = None

    def started(self, parts: list[str]) -> None: ...

    def submitted(self, restored: Path | None) -> None:
        self.submissions.append(restored)

    def waiting(self, reason: str, seconds: float) -> None: ...

    def seen(self, status: Status) -> None:
        self.status = status


@dataclass
class _Run:
    """One job of numbers, and those who look after it, one after the other."""

    cluster: Cluster
    folder: Path
    total: int = 1500
    rate: int = 250
    label: str = "Append"
    version: str = "1"

    def __post_init__(self) -> None:
        self.name = f"numbers-{next(_numbers)}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings: LiveSettings = settings_for(self.cluster, self.folder)
        self.flink = Flink(self.cluster.rest)
        self.seen = _Seen()

    def submission(self) -> Submission:
        build = partial(
            streaming.build,
            folder=self.folder,
            numbers=self.total,
            rate=self.rate,
            last_label=self.label,
        )
        return Submission(build, self.settings, name=self.name, version=self.version)

    def job(self) -> Job:
        return self.flink.jobs(self.name)[0]

    def jobs(self) -> list[Job]:
        return [job for job in self.flink.jobs(self.name) if not job.over]

    @contextmanager
    def supervised(self) -> Iterator["_Supervised"]:
        supervised = _Supervised(self)
        supervised.start()
        try:
            yield supervised
        finally:
            supervised.kill()
            with suppress(FlinkAway):
                for job in self.jobs():
                    self.flink.cancel(job.id)


class _Supervised(threading.Thread):
    def __init__(self, run: _Run) -> None:
        super().__init__(daemon=True)
        self.ending: str | None = None
        self._stopped = threading.Event()
        self._supervisor = Supervisor(
            run.submission(), run.settings, machinery=run.cluster, sleep=self._sleep
        )
        self._seen = run.seen

    def run(self) -> None:
        with suppress(_Killed):
            self.ending = self._supervisor.run(self._seen)

    def kill(self) -> None:
        self._stopped.set()
        self.join(_DEADLINE_SECONDS)
        assert not self.is_alive()

    def ended(self) -> str | None:
        self.join(_DEADLINE_SECONDS)
        return self.ending

    def _sleep(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise _Killed


@pytest.fixture
def run(flink_cluster: Cluster, tmp_path: Path) -> _Run:
    flink_cluster.start()
    return _Run(flink_cluster, tmp_path / "job")


def test_a_job_goes_on_exactly_when_task_manager_and_job_manager_are_killed(run: _Run) -> None:
    with run.supervised() as supervised:
        streaming.reaches(run.folder, 300)
        run.cluster.kill(run.cluster.task_managers[0])
        streaming.reaches(run.folder, 700)
        run.cluster.kill(run.cluster.job_manager, run.cluster.job_server)
        assert supervised.ended() == "complete"
    assert set(streaming.results(run.folder)) == streaming.expected(run.total)
    first, *later = run.seen.submissions
    assert first is None
    assert later
    assert all(later)


def test_a_job_goes_on_exactly_from_a_checkpoint_and_from_a_savepoint(run: _Run) -> None:
    with run.supervised() as supervised:
        streaming.reaches(run.folder, 300)
        supervised.kill()
        run.cluster.kill()
    with run.supervised() as supervised:
        streaming.reaches(run.folder, 700)
        savepoint = stop(run.flink, run.job(), run.settings.folder / run.name / "savepoints")
        assert savepoint is not None
        assert (savepoint / "_metadata").exists()
        assert supervised.ended() == "stopped"
    with run.supervised() as supervised:
        assert supervised.ended() == "complete"
    assert set(streaming.results(run.folder)) == streaming.expected(run.total)
    assert run.seen.submissions[0] is None
    assert run.seen.submissions[2] == savepoint


def test_what_a_step_gave_just_before_a_checkpoint_is_not_overtaken_by_the_end(run: _Run) -> None:
    """The source ends in the first bundle after the restore."""
    with run.supervised() as supervised:
        streaming.reaches(run.folder, 200)
        stop(run.flink, run.job(), run.settings.folder / run.name / "savepoints")
        assert supervised.ended() == "stopped"
    run.rate = 100_000
    with run.supervised() as supervised:
        assert supervised.ended() == "complete"
    assert set(streaming.results(run.folder)) == streaming.expected(run.total)


def test_a_second_copy_of_a_job_is_ended_and_the_first_is_attached_to(run: _Run) -> None:
    run.total = 100_000
    folder = JobFolder(run.settings, run.name)
    run.submission().submit(folder.checkpoints, None, lambda: len(run.jobs()) == 1)
    run.submission().submit(folder.checkpoints, None, lambda: len(run.jobs()) == 2)
    with run.supervised():
        _eventually(lambda: len(run.jobs()) == 1)
        assert run.seen.submissions == []


def test_checkpoints_do_not_grow_with_how_often_a_source_puts_its_rest_off(run: _Run) -> None:
    run.total = 100_000
    sizes = []
    with run.supervised():
        for number in (300, 1500):
            streaming.reaches(run.folder, number)
            sizes.append(_checkpoint_after_now(run).size)
    assert sizes[1] < 1.2 * sizes[0]


def test_the_state_of_another_graph_is_refused(run: _Run) -> None:
    run.total = 100_000
    with run.supervised() as supervised:
        _checkpoint_after_now(run)
        stop(run.flink, run.job(), run.settings.folder / run.name / "savepoints")
        assert supervised.ended() == "stopped"
    other = Supervisor(run.submission(), run.settings)
    other.folder.accept(run.submission().identity)
    run.label = "Write"
    with pytest.raises(LiveError, match=r"does not fit this program: it has the step 'Append"):
        Supervisor(run.submission(), run.settings).run(run.seen)
    run.label, run.version = "Append", "2"
    with pytest.raises(LiveError, match=r"made by '1', and this is '2'"):
        Supervisor(run.submission(), run.settings).run(run.seen)
    other.folder.forget()
    assert other.folder.newest() is None


def test_a_worker_whose_pool_died_is_ended_even_if_it_hangs(run: _Run) -> None:
    run.total = 100_000
    with run.supervised():
        streaming.reaches(run.folder, 100)
        hanging = set(run.cluster.workers())
        for worker in hanging:
            os.kill(worker, signal.SIGSTOP)
        run.cluster.kill(run.cluster.worker_pool)
        _eventually(lambda: hanging.isdisjoint(run.cluster.workers()))
        streaming.reaches(run.folder, max(streaming.results(run.folder))[0] + 100)


def test_one_supervisor_looks_after_a_job(tmp_path: Path) -> None:
    folder = JobFolder(LiveSettings(folder=tmp_path), "job")
    another = JobFolder(LiveSettings(folder=tmp_path), "job")
    says = rf"Process {os.getpid()} looks after this job already"
    with folder.held(), pytest.raises(LiveError, match=says), another.held():
        pass
    with folder.held():
        pass


def test_the_newest_state_is_the_newest_that_is_complete(tmp_path: Path) -> None:
    folder = JobFolder(LiveSettings(folder=tmp_path), "job")
    assert folder.newest() is None
    states = [
        folder.checkpoints / "aaa" / "chk-7",
        folder.savepoints / "savepoint-1",
        folder.checkpoints / "bbb" / "chk-2",
        folder.checkpoints / "bbb" / "chk-3",
    ]
    for at, state in enumerate(states):
        state.mkdir(parents=True)
        if state.name != "chk-3":  # begun, not finished
            (state / "_metadata").touch()
            os.utime(state / "_metadata", (at, at))
    assert folder.newest() == states[2]


def test_a_flink_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FlinkAway, match=r"cannot be reached at http://127.0.0.1:9"):
        Flink("127.0.0.1:9").jobs("any")


def _checkpoint_after_now(run: _Run) -> msgspec.Struct:
    now = time.time() * 1000
    found = []

    def taken() -> bool:
        with suppress(IndexError):
            checkpoint = status_of(run.flink, run.job()).checkpoint
            if checkpoint and checkpoint.at > now:
                found.append(checkpoint)
        return bool(found)

    _eventually(taken)
    return found[0]


def _eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
