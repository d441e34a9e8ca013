"""What Flink's JobManager tells of a job over REST, and what it is told to do with it."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

_TIMEOUT_SECONDS = 10.0
_METADATA = "_metadata"

TERMINAL = frozenset({"FINISHED", "FAILED", "CANCELED"})
"""States that a job does not leave."""

END_OF_TIME_MILLISECONDS = 9_223_371_950_454_775
"""A watermark that is not below this has reached the end of the input (Beam's last timestamp)."""


class FlinkError(Exception):
    """Flink refuses, or the job fails; the message says what to do."""


class FlinkAway(FlinkError):
    """The JobManager cannot be reached."""


class Job(msgspec.Struct, frozen=True):
    """A job as it is listed. `state` is Flink's: RUNNING, RESTARTING, FAILED …"""

    id: str = msgspec.field(name="jid")
    name: str
    state: str
    started: int = msgspec.field(name="start-time")

    @property
    def over(self) -> bool:
        return self.state in TERMINAL


class Checkpoint(msgspec.Struct, frozen=True):
    """`at`: milliseconds since 1970 when it was begun; `path`: where it lies."""

    id: int
    at: int = msgspec.field(name="trigger_timestamp")
    size: int = msgspec.field(name="state_size")
    duration: int = msgspec.field(name="end_to_end_duration")
    path: str = msgspec.field(name="external_path")


class Savepoint(NamedTuple):
    """A savepoint that was asked for. `path` when it is complete, `failure` when it is not."""

    state: Literal["IN_PROGRESS", "COMPLETED"]
    path: str | None
    failure: str | None


class Flink:
    """A client of one JobManager; each call raises FlinkAway or FlinkError."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") if "://" in address else f"http://{address}"

    def jobs(self, name: str) -> list[Job]:
        """All jobs of that name that it knows, the newest first."""
        found = msgspec.convert(self._get("/jobs/overview")["jobs"], list[Job])
        of_name = [job for job in found if job.name == name]
        return sorted(of_name, key=lambda job: job.started, reverse=True)

    def watermarks(self, job: str) -> list[int | None]:
        """Of the input of each step as Flink runs it, several of ours together, in order:
        milliseconds since 1970, None before the first."""
        steps = self._get(f"/jobs/{job}")["vertices"]
        return [self._watermark(job, step["id"]) for step in steps]

    def last_checkpoint(self, job: str) -> Checkpoint | None:
        """The newest that is complete."""
        completed = self._get(f"/jobs/{job}/checkpoints")["latest"]["completed"]
        return msgspec.convert(completed, Checkpoint) if completed else None

    def restarts(self, job: str) -> int:
        """How often Flink has begun it again by itself."""
        found = self._get(f"/jobs/{job}/metrics?get=numRestarts")
        return int(found[0]["value"]) if found else 0

    def failure(self, job: str) -> str | None:
        """What made it fail last, with the trace; None where nothing did."""
        found = self._get(f"/jobs/{job}/exceptions?maxExceptions=1")
        root: str | None = found.get("root-exception")
        return root

    def cancel(self, job: str) -> None:
        """Asks it to end at once; its checkpoints stay."""
        self._call("PATCH", f"/jobs/{job}?mode=cancel")

    def ask_savepoint(self, job: str, folder: Path, *, then_cancel: bool) -> str:
        """Asks for a savepoint below `folder`, and gives the name of the request.

        Flink's own "stop" is not used: it ends Beam's steps as if the input were at its end, and
        they would close every window.
        """
        wanted = {"target-directory": folder.resolve().as_uri(), "cancel-job": then_cancel}
        name: str = self._call("POST", f"/jobs/{job}/savepoints", wanted)["request-id"]
        return name

    def savepoint(self, job: str, request: str) -> Savepoint:
        """How far a savepoint is."""
        found = self._get(f"/jobs/{job}/savepoints/{request}")
        done = found.get("operation") or {}
        cause = done.get("failure-cause")
        return Savepoint(
            found["status"]["id"], done.get("location"), cause and cause.get("stack-trace", "")
        )

    def _watermark(self, job: str, vertex: str) -> int | None:
        found = self._get(f"/jobs/{job}/vertices/{vertex}/watermarks")
        return min((int(one["value"]) for one in found), default=None)

    def _get(self, path: str) -> Any:
        return self._call("GET", path)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 (the user's own address)
            f"{self.address}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = " ".join(error.read().decode("utf-8", "replace").split())[:300]
            if error.code == 503:  # it is still starting
                raise FlinkAway(f"Flink at {self.address} is not ready yet: {said}") from error
            raise FlinkError(f"Flink at {self.address} answers {error.code}: {said}") from error
        except (OSError, ValueError) as error:
            raise FlinkAway(
                f"Flink cannot be reached at {self.address} ({error}): start it, or give the "
                "address of its REST interface."
            ) from error


def newest(folders: Iterable[Path]) -> Path | None:
    """The newest complete checkpoint or savepoint below the folders, whichever job wrote it."""
    complete = [
        found
        for folder in folders
        for pattern in (f"*/chk-*/{_METADATA}", f"savepoint-*/{_METADATA}")
        for found in folder.glob(pattern)
    ]
    # It is written last, so what has none was never finished.
    return max(complete, key=_written).parent if complete else None


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # Flink has just put it away for a newer one
        return 0
