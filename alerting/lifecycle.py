"""Spikes to alerts that open, update and resolve, driven by event time alone.

Feed, minute by minute in order, each spike of the minute and then the minute's own time. The end
of input resolves nothing; a key that falls silent resolves when the stream's time has passed its
quiet period, the same live and in a replay.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from alerting.alert import Alert, AlertChange, alert_id, event_id
from alerting.errors import ConfigurationError, StateError
from alerting.spike import SEVERITIES, Spike

VERSION = 1
"""Of the state's bytes."""

_EVIDENCE_MESSAGES = 20
_BEGINNING = datetime.min.replace(tzinfo=UTC)


class LifecycleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When an alert ends and how long after it the same story stays quiet, in hours.

    `quiet_hours` after the last spike an alert resolves (`drift_quiet_hours` for slow drift).
    For `cool_down_hours` after that, only a spike more severe than the alert was opens a new one.
    """

    quiet_hours: float = 4.0
    drift_quiet_hours: float = 48.0
    cool_down_hours: float = 12.0

    def __post_init__(self) -> None:
        if self.quiet_hours < 1.5 or self.drift_quiet_hours < 1.5:
            raise ConfigurationError(
                f"quiet hours are {self.quiet_hours} and {self.drift_quiet_hours}: give at least "
                "1.5, because a lasting surge reports once an hour"
            )
        if self.cool_down_hours < 0:
            raise ConfigurationError(f"cool_down_hours is {self.cool_down_hours}: give 0 or more")

    def quiet(self, kind: str) -> timedelta:
        """How long after its last spike an alert of this kind resolves."""
        return timedelta(hours=self.drift_quiet_hours if kind == "slow_drift" else self.quiet_hours)


class Cooling(msgspec.Struct, frozen=True, array_like=True):
    """After an alert: until when, and how severe it was (index into SEVERITIES)."""

    until: datetime
    rank: int


class LifecycleState(msgspec.Struct, array_like=True):
    """Open alerts and cool-downs by "key kind"; `now` is the stream's event time."""

    version: int
    configuration: str
    now: datetime = _BEGINNING
    open: dict[str, Alert] = msgspec.field(default_factory=dict)
    cooling: dict[str, Cooling] = msgspec.field(default_factory=dict)


class Lifecycle:
    """At most one open alert for each key and kind."""

    def __init__(self, settings: LifecycleSettings | None = None) -> None:
        self.settings = settings or LifecycleSettings()
        encoded = msgspec.json.encode(self.settings)
        self.configuration_hash = hashlib.sha256(encoded).hexdigest()[:16]
        self._decoder = msgspec.msgpack.Decoder(LifecycleState)

    def initial(self) -> LifecycleState:
        """Nothing open."""
        return LifecycleState(VERSION, self.configuration_hash)

    def encode(self, state: LifecycleState) -> bytes:
        """Versioned bytes of the state."""
        return msgspec.msgpack.encode(state)

    def decode(self, payload: bytes) -> LifecycleState:
        """The state again. Raises `StateError` for another version or configuration."""
        try:
            head = msgspec.msgpack.decode(payload)[:2]
        except (msgspec.DecodeError, TypeError) as error:
            raise StateError(
                f"stored alert state is not readable ({error}): rebuild it by a replay"
            ) from error
        if head != [VERSION, self.configuration_hash]:
            raise StateError(
                f"stored alert state is of version and configuration {head}, this code reads "
                f"{[VERSION, self.configuration_hash]}: rebuild it by a replay"
            )
        return self._decoder.decode(payload)

    def step(
        self, state: LifecycleState, event: Spike | datetime
    ) -> tuple[LifecycleState, list[AlertChange]]:
        """Apply a spike, or let event time (UTC) pass. The state is changed in place."""
        if isinstance(event, datetime):
            return state, self._pass_time(state, event)
        changes = self._pass_time(state, event.window_end)
        slot = f"{event.key} {event.kind}"
        alert = state.open.get(slot)
        if alert is None:
            cooling = state.cooling.get(slot)
            if cooling is not None and SEVERITIES.index(event.severity) <= cooling.rank:
                return state, changes
            state.cooling.pop(slot, None)
            alert = _opened(event)
        else:
            alert = _updated(alert, event)
        state.open[slot] = alert
        changes.append(_change(alert, "opened" if alert.spikes == 1 else "updated", event.id))
        return state, changes

    def _pass_time(self, state: LifecycleState, now: datetime) -> list[AlertChange]:
        if now <= state.now:
            return []
        state.now = now
        due = []
        for slot, alert in state.open.items():
            end = alert.updated_at + self.settings.quiet(alert.kind)
            if end <= now:
                due.append((end, slot))
        changes = [self._resolve(state, slot, end) for end, slot in sorted(due)]
        for slot in [slot for slot, cooling in state.cooling.items() if cooling.until <= now]:
            del state.cooling[slot]
        return changes

    def _resolve(self, state: LifecycleState, slot: str, end: datetime) -> AlertChange:
        alert = msgspec.structs.replace(state.open.pop(slot), state="resolved", resolved_at=end)
        state.cooling[slot] = Cooling(
            end + timedelta(hours=self.settings.cool_down_hours), SEVERITIES.index(alert.severity)
        )
        return _change(alert, "resolved", alert.last_spike_id)


def _opened(spike: Spike) -> Alert:
    return Alert(
        id=alert_id(spike.id),
        key=spike.key,
        kind=spike.kind,
        state="open",
        severity=spike.severity,
        opened_at=spike.window_end,
        updated_at=spike.window_end,
        resolved_at=None,
        peak_surprise=spike.surprise,
        peak_observed=spike.observed,
        expected_at_peak=spike.expected,
        first_spike_id=spike.id,
        peak_spike_id=spike.id,
        last_spike_id=spike.id,
        spikes=1,
        evidence=_evidence(spike, []),
        configuration=spike.configuration,
        model=spike.model,
    )


def _updated(alert: Alert, spike: Spike) -> Alert:
    """The figures are those of the peak; messages grow with every spike, within bounds."""
    severity = max(alert.severity, spike.severity, key=SEVERITIES.index)
    grown = msgspec.structs.replace(
        alert,
        severity=severity,
        updated_at=max(alert.updated_at, spike.window_end),
        last_spike_id=spike.id,
        spikes=alert.spikes + (spike.id != alert.last_spike_id),
    )
    named = alert.evidence["message_ids"]
    if spike.surprise <= alert.peak_surprise:
        evidence = alert.evidence | {"message_ids": _merged(named, list(spike.message_ids))}
        return msgspec.structs.replace(grown, evidence=evidence)
    return msgspec.structs.replace(
        grown,
        peak_surprise=spike.surprise,
        peak_observed=spike.observed,
        expected_at_peak=spike.expected,
        peak_spike_id=spike.id,
        evidence=_evidence(spike, named),
    )


def _evidence(spike: Spike, named: list[str]) -> dict[str, Any]:
    """What is needed to judge the spike, as JSON."""
    counts = spike.counts
    repeats, stories = counts["repeats"], counts["stories"]
    return {
        "window_start": spike.window_start.isoformat(),
        "window_end": spike.window_end.isoformat(),
        "scale_seconds": spike.scale_seconds,
        "observed": spike.observed,
        "expected": spike.expected,
        "dispersion": spike.dispersion,
        "log10_tail": spike.log10_tail,
        "surprise": spike.surprise,
        "threshold": spike.threshold,
        "negative_share": spike.negative_share,
        "expected_negative_share": spike.expected_negative_share,
        "counts": {
            name: counts[name]
            for name in (
                "negative",
                "neutral",
                "positive",
                "abstained",
                "repeats",
                "repeats_negative",
            )
        },
        "amplification": round(repeats / stories, 6) if stories else None,
        "sources": counts["sources"],
        "stories": stories,
        "message_ids": _merged(list(spike.message_ids), named),
        "same_hour_on_earlier_weeks": [
            counts[name]
            for name in (f"same_hour_{week}w" for week in range(1, 5))
            if name in counts
        ],
        "model": spike.model,
        "configuration": spike.configuration,
    }


def _merged(first: list[str], then: list[str]) -> list[str]:
    return list(dict.fromkeys([*first, *then]))[:_EVIDENCE_MESSAGES]


def _change(alert: Alert, event: str, spike: str) -> AlertChange:
    occurred = alert.resolved_at if alert.resolved_at is not None else alert.updated_at
    return AlertChange(
        alert=alert,
        event=event,
        occurred_at=occurred,
        details={"spike_id": spike, "alert": msgspec.to_builtins(alert)},
        event_id=event_id(alert.id, event, spike),
    )
