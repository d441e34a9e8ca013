"""An alert: what people see of a run of spikes of one key and kind."""

from datetime import datetime
from typing import Any

import msgspec

from alerting.spike import identity


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One surge from opening to resolution, in event time (UTC); `severity` is the peak so far.

    `final`: found in what no later message can change; else it may yet be revised or withdrawn.
    """

    schema: int = 1
    id: str
    key: str
    kind: str
    state: str
    severity: str
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    peak_surprise: float
    peak_observed: float
    expected_at_peak: float
    first_spike_id: str
    peak_spike_id: str
    last_spike_id: str
    spikes: int
    evidence: dict[str, Any]
    configuration: str
    model: str
    final: bool = True


class AlertChange(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to an alert: `event` is opened, updated or resolved, at event time (UTC)."""

    alert: Alert
    event: str
    occurred_at: datetime
    details: dict[str, Any]
    event_id: str

    @property
    def alert_id(self) -> str:
        """What the ledger files it under."""
        return self.alert.id


def provisional(change: AlertChange) -> AlertChange:
    """The change, found in what later messages may still change."""
    alert = msgspec.structs.replace(change.alert, final=False)
    details = {**change.details, "alert": msgspec.to_builtins(alert)}
    return msgspec.structs.replace(change, alert=alert, details=details)


def alert_id(first_spike_id: str) -> str:
    """One alert per spike that opened it."""
    return identity("alert", first_spike_id)


def event_id(alert: str, event: str, spike: str) -> str:
    """One event per alert, what happened, and the spike it happened with."""
    return identity("event", alert, event, spike)
