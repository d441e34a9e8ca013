"""Open alerts of another configuration than the one that is followed: nothing would ever end them.

Such an alert resolves as its own configuration would have resolved it, by event time: when that of
the configuration that is followed has passed its quiet period. So a process that follows a
configuration of which nothing comes ends nobody's alerts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select

from alerting.alert import Alert, AlertChange
from alerting.ledger import LedgerRow
from alerting.spike import identity
from connectors.store.schema import alerts
from pipelines.alerting.following import Follower
from pipelines.alerting.routing import alert_of
from pipelines.recording import record_changes

_TOGETHER = 100  # alerts in one transaction


@dataclass
class Superseded:
    """What others left open when the process began. `waiting`: when each is due, and its id."""

    follower: Follower
    waiting: list[tuple[datetime, str]] | None = None

    def resolve(self, now: datetime) -> list[LedgerRow]:
        """Resolves what is due by the follower's event time, some at a time, and tells of it.

        Returns the ledger's new rows. Raises StoreError.
        """
        if self.waiting is None:
            self.waiting = self._left_open()
        due = [one for one in self.waiting if one[0] <= self.follower.event_time][:_TOGETHER]
        if not due:
            return []
        follower = self.follower
        with follower.store.transaction() as tx:
            tx.ledger_end()
            wanted = (alerts.c.id.in_([name for _, name in due]), alerts.c.state == "open")
            rows = tx.rows(select(alerts).where(*wanted).order_by(alerts.c.updated_at, alerts.c.id))
            ended = [(self._change(row), self._shown(row)) for row in rows if self._is_due(row)]
            filed = record_changes(tx, ended, follower.run_id, now)
            follower.tell(tx, filed, now)
        self.waiting = [one for one in self.waiting if one not in due]
        return filed

    def _left_open(self) -> list[tuple[datetime, str]]:
        columns = (alerts.c.id, alerts.c.kind, alerts.c.updated_at)
        others = alerts.c.configuration != self.follower.configuration
        query = select(*columns).where(alerts.c.state == "open", others)
        return sorted((self._due(row), row["id"]) for row in self.follower.store.rows(query))

    def _due(self, row: Mapping[str, Any]) -> datetime:
        at: datetime = row["updated_at"]
        return at + self.follower.settings.quiet(row["kind"])

    def _is_due(self, row: Mapping[str, Any]) -> bool:
        return self._due(row) <= self.follower.event_time

    def _resolved(self, row: Mapping[str, Any], alert: Alert) -> Alert:
        return msgspec.structs.replace(alert, state="resolved", resolved_at=self._due(row))

    def _shown(self, row: Mapping[str, Any]) -> Alert:
        """As the alert is shown: with the messages that it has."""
        return self._resolved(
            row, msgspec.structs.replace(alert_of(row), evidence=dict(row["evidence"]))
        )

    def _change(self, row: Mapping[str, Any]) -> AlertChange:
        alert = self._resolved(row, alert_of(row))
        followed = self.follower.configuration
        return AlertChange(
            alert=alert,
            event="resolved",
            occurred_at=self._due(row),
            details={
                "spike_id": alert.last_spike_id,
                "alert": msgspec.to_builtins(alert),
                "reason": f"its configuration {alert.configuration} is no longer followed, but "
                f"{followed}",
            },
            event_id=identity("superseded", alert.id, alert.last_spike_id, followed),
        )
