"""The process beside a live job: looks, files, waits a little, looks again, until it is stopped.

A kill leaves nothing half done: whatever a look gave is one transaction.
"""

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from alerting.ledger import LedgerRow
from connectors.errors import StoreError, StoreUnavailable
from connectors.store import Store
from connectors.store.sole import Sole, Taken
from pipelines.alerting.following import Follower
from pipelines.alerting.routing import Routing
from pipelines.alerting.ruling import RulesFile
from pipelines.alerting.superseded import Superseded
from pipelines.configuration import Configuration
from pipelines.manifest import VERSION, digest
from pipelines.metrics.instruments import metrics
from pipelines.runs import begin_run, finish_run
from pipelines.telemetry import journey

KIND = "alerts"
"""Of its row in `runs`."""

LOCK = "alerts"

POLL_SECONDS = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds between tries while the store is away

Pause = Callable[[float], bool]
"""Waits so many seconds; True where the process is to stop."""


class Watching(Protocol):
    """Who wants to know what the process does."""

    def filed(self, rows: Sequence[LedgerRow]) -> None: ...

    def away(self, error: StoreError, seconds: float) -> None: ...

    def ruled(self, rules: RulesFile) -> None: ...


def begin(store: Store, configuration: Configuration, now: datetime) -> str:
    """Writes the row of `runs` that the ledger's events name; returns its id."""
    identity = configuration.tag.tagger().identity
    described: dict[str, Any] = {
        "schema": 1,
        "code": VERSION,
        "follows": configuration.digest(identity),
        "configuration": configuration.meaning(),
        "model": {"name": identity.name, "checksum": identity.checksum},
    }
    run_id = digest(described)
    with store.transaction() as tx:
        begin_run(tx, run_id, KIND, described, now)
    return run_id


def end(store: Store, run_id: str, now: datetime) -> None:
    """Says that the process ended in order."""
    with store.transaction() as tx:
        finish_run(tx, run_id, now)


def work(
    follower: Follower,
    sole: Sole,
    *,
    pause: Pause,
    watching: Watching,
    routing: Routing | None = None,
    once: bool = False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Follows until `pause` says to stop, or `once`: until nothing is left to do. `routing`: tells
    of it; it must be the follower's.

    While the store is away it waits longer and longer, and goes on where it was. Raises `Taken`
    where another process does this work already, StoreError where the store cannot be used.
    """
    sole.hold()
    superseded = Superseded(follower)
    failures = itertools.count()
    while True:
        try:
            sole.hold()
            now = clock()
            if routing is not None and routing.file.refresh(follower.store, now):
                watching.ruled(routing.file)
            began = journey.now()
            rows, more = follower.look(now)
            ended = superseded.resolve(now)
            rows, more = [*rows, *ended], more or bool(ended)
            if routing is not None:
                routing.tick(follower.store, now)
        except (StoreUnavailable, Taken) as error:
            seconds = min(_FIRST_PAUSE * 2 ** next(failures), _LONGEST_PAUSE)
            watching.away(error, seconds)
            if pause(seconds):
                return
            continue
        failures = itertools.count()
        metrics().looked()
        for row in rows:
            metrics().alert_event(row.event, row.details.get("alert", {}).get("severity", ""))
        journey.filed(rows, began)
        watching.filed(rows)
        if once and not more:
            return
        if pause(0.0 if more else POLL_SECONDS):
            return
