"""What is to be told to whom, and when: the state of routing, and steps over it. Time is given.

Every event of an alert that rules match gives notifications, or is held back for a reason, and a
record names both: nothing is left out without one. What quiet hours, a limit or the gathering of
what belongs together hold back is released later, several as one digest. Silenced is never told.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from alerting.alert import Alert
from alerting.errors import StateError
from alerting.ledger import Entry
from alerting.notification import Held, Notification, notification_id
from alerting.rules import Route, Rules, Target
from alerting.silence import Silence
from alerting.spike import SEVERITIES, identity

VERSION = 1
"""Of the state's bytes."""

QUIET, LIMIT, GATHERING = "quiet-hours", "rate-limit", "grouping"


class Filed(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the ledger, with the alert as it is after it (without texts). `closed`: a person
    had closed the alert, and it stays closed."""

    event_id: str
    event: str
    occurred_at: datetime
    alert: Alert
    incident: str | None = None
    closed: bool = False


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as it stands when somebody is to be told of it again. `over`: resolved or closed."""

    alert: Alert
    acknowledged: bool
    over: bool
    snoozed_until: datetime | None = None


Look = Callable[[str], Known | None]
"""The alert of an id as it stands now."""


class Box(msgspec.Struct, array_like=True):
    """What waits for one recipient; it is released at `due`, together."""

    route: str
    target: Target
    why: str
    due: datetime
    held: list[Filed]


class Ladder(msgspec.Struct, array_like=True):
    """An alert that waits to be acknowledged: at `due` the `step` (from 1 on) is told."""

    route: str
    alert_id: str
    step: int
    due: datetime


class RoutingState(msgspec.Struct, array_like=True):
    """`told`: "route alert" -> how severe it was when last told. `sent`: "route person channel" ->
    when, within the limit's minutes."""

    version: int = VERSION
    told: dict[str, str] = msgspec.field(default_factory=dict)
    sent: dict[str, list[datetime]] = msgspec.field(default_factory=dict)
    boxes: dict[str, Box] = msgspec.field(default_factory=dict)
    ladders: dict[str, Ladder] = msgspec.field(default_factory=dict)

    def due(self) -> datetime | None:
        """When time alone makes something happen next; None where nothing waits."""
        waiting: Iterable[Box | Ladder] = (*self.boxes.values(), *self.ladders.values())
        return min((one.due for one in waiting), default=None)


def encode(state: RoutingState) -> bytes:
    """Versioned bytes of the state."""
    return msgspec.msgpack.encode(state)


def decode(payload: bytes) -> RoutingState:
    """The state again. Raises `StateError` for one of another release."""
    try:
        state = msgspec.msgpack.decode(payload, type=RoutingState)
    except (msgspec.DecodeError, TypeError) as error:
        raise StateError(f"the stored state of routing is not readable: {error}") from error
    if state.version != VERSION:
        raise StateError(
            f"the stored state of routing is of version {state.version}, this code reads {VERSION}"
        )
    return state


@dataclass
class Outcome:
    """`entries`: for the ledger; `notifications`: for the outbox, in the same transaction."""

    entries: list[Entry] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)


@dataclass
class Router:
    """One version of the rules at work. `version`: its hash; `sectors`: entity -> its sector."""

    rules: Rules
    version: str
    sectors: Mapping[str, str] = field(default_factory=dict)

    def route(
        self, state: RoutingState, filed: Filed, silences: Sequence[Silence], now: datetime
    ) -> Outcome:
        """Tells of an event, or holds it back. The state is changed in place."""
        work = _Work(self, state, now)
        matched: dict[str, list[str]] = {}
        for rule in self.rules.matching(filed.alert, self.sectors):
            matched.setdefault(rule.route, []).append(rule.name)
        # Who was told of an alert is told of its end, whatever the rules would say of it now.
        for name in self.rules.routes:
            if name in matched or _told(name, filed.alert.id) in state.told:
                work.event(name, filed, silences)
        work.routed(filed, [name for names in matched.values() for name in names])
        return work.outcome

    def tick(self, state: RoutingState, look: Look, now: datetime) -> Outcome:
        """Releases what has waited long enough, and climbs the ladders of what nobody acknowledged.

        The state is changed in place.
        """
        work = _Work(self, state, now)
        for key in sorted(key for key, box in state.boxes.items() if box.due <= now):
            work.release(state.boxes.pop(key))
        for key in sorted(key for key, one in state.ladders.items() if one.due <= now):
            work.climb(key, look(state.ladders[key].alert_id))
        return work.outcome


@dataclass
class _Work:
    """One step: what it tells, what it holds back, and the records of both."""

    router: Router
    state: RoutingState
    now: datetime
    outcome: Outcome = field(default_factory=Outcome)
    told: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)

    def event(self, name: str, filed: Filed, silences: Sequence[Silence]) -> None:
        route = self.router.rules.routes[name]
        why = self._untold(name, filed, silences)
        if why is None or filed.closed or filed.alert.state == "resolved":
            self._remember(name, filed)
        if why is not None:
            self.held.append({"route": name, **why})
            return
        for target in self.router.rules.targets(route, route.to):
            wait = self._wait(name, route, target, filed.alert)
            if wait is None:
                self._tell(name, target, filed, filed.event_id, step=0)
                self._start_clocks(name, [filed])
            else:
                self._hold(name, target, filed, *wait)

    def routed(self, filed: Filed, rules: list[str]) -> None:
        """Files what became of an event."""
        event_id = identity("routed", filed.event_id)
        self._file("routed", filed, event_id, of=filed.event_id, met=rules)

    def release(self, box: Box) -> None:
        """What has waited goes out, unless it has to wait on."""
        route = self.router.rules.routes.get(box.route)
        last = box.held[-1]
        worst = max((one.alert for one in box.held), key=_rank)
        if route is not None:
            wait = self._wait(box.route, route, box.target, worst, gathered=True)
            if wait is not None:
                for filed in box.held:
                    self._hold(box.route, box.target, filed, *wait)
                self._file("held", last, self._release_id("held", box), of=_ids(box))
                return
        name = "released" if len(box.held) == 1 else "digest"
        event_id = self._release_id(name, box)
        shown = msgspec.structs.replace(last, event=last.event if name == "released" else name)
        held = tuple(_held(one, box.why) for one in box.held)
        self._tell(box.route, box.target, shown, event_id, step=0, held=held)
        self._start_clocks(box.route, box.held)
        self._file(name, last, event_id, of=_ids(box), why=box.why)

    def climb(self, key: str, known: Known | None) -> None:
        """Tells the next ones, where nobody has acknowledged and it is not over."""
        ladder = self.state.ladders.pop(key)
        route = self.router.rules.routes.get(ladder.route)
        if known is None or known.over or known.acknowledged or route is None:
            return
        if ladder.step > len(route.escalate):  # the rules have changed meanwhile
            return
        if known.snoozed_until is not None and known.snoozed_until > self.now:
            ladder.due = known.snoozed_until
            self.state.ladders[key] = ladder
            return
        step = route.escalate[ladder.step - 1]
        event_id = identity("escalated", *map(str, msgspec.structs.astuple(ladder)))
        filed = Filed(event_id=event_id, event="escalated", occurred_at=self.now, alert=known.alert)
        for target in self.router.rules.targets(route, step.to):
            self._tell(ladder.route, target, filed, event_id, step=ladder.step)
        self._file("escalated", filed, event_id, route=ladder.route, step=ladder.step)
        self._set_ladder(ladder.route, route, ladder.alert_id, ladder.step + 1)

    def _untold(
        self, name: str, filed: Filed, silences: Sequence[Silence]
    ) -> dict[str, str] | None:
        """Why it is not told at all; None where it is.

        News is: opened, more severe than was told, over. The rest is to be seen in the console.
        """
        if filed.closed:
            return {"why": "closed"}
        before = self.state.told.get(_told(name, filed.alert.id))
        if filed.alert.state == "resolved":
            news = before is not None
        else:
            news = before is None or _rank(filed.alert) > SEVERITIES.index(before)
        if not news:
            return {"why": "no-news"}
        for silence in silences:
            if silence.covers(filed.alert, self.now):
                by = {"owner": silence.owner, "approved_by": silence.approved_by or ""}
                return {"why": "silence", "silence": silence.id, **by}
        return None

    def _remember(self, name: str, filed: Filed) -> None:
        key = _told(name, filed.alert.id)
        if filed.closed or filed.alert.state == "resolved":
            self.state.told.pop(key, None)
            self.state.ladders.pop(key, None)
        else:
            self.state.told[key] = filed.alert.severity

    def _wait(
        self, name: str, route: Route, target: Target, alert: Alert, gathered: bool = False
    ) -> tuple[str, datetime] | None:
        """Why it is not told now, and until when; None where it is."""
        if route.wait_seconds and not gathered:
            return GATHERING, self.now + timedelta(seconds=route.wait_seconds)
        if route.quiet is not None and _rank(alert) < SEVERITIES.index(route.quiet.unless):
            until = route.quiet.until(self.now)
            if until is not None:
                return QUIET, until
        limit = route.limit
        if limit is not None:
            since = self.now - timedelta(minutes=limit.minutes)
            times = [at for at in self.state.sent.get(_sent(name, target), ()) if at > since]
            if len(times) >= limit.most and _rank(alert) < SEVERITIES.index(limit.unless):
                return LIMIT, times[-limit.most] + timedelta(minutes=limit.minutes)
        return None

    def _hold(self, name: str, target: Target, filed: Filed, why: str, until: datetime) -> None:
        group = (filed.incident or filed.alert.id) if why == GATHERING else ""
        key = "\x1f".join((name, target.person, target.channel, why, group))
        box = self.state.boxes.setdefault(key, Box(name, target, why, until, []))
        box.held.append(filed)
        self.held.append(
            {
                "route": name,
                "person": target.person,
                "channel": target.channel,
                "why": why,
                "until": box.due.isoformat(),
            }
        )

    def _tell(
        self,
        name: str,
        target: Target,
        filed: Filed,
        event_id: str,
        *,
        step: int,
        held: tuple[Held, ...] = (),
    ) -> None:
        self.told.append(
            {"route": name, "person": target.person, "channel": target.channel, "step": step}
        )
        route = self.router.rules.routes.get(name)
        if route is not None and route.limit is not None:
            since = self.now - timedelta(minutes=route.limit.minutes)
            times = self.state.sent.get(_sent(name, target), [])
            self.state.sent[_sent(name, target)] = [*(at for at in times if at > since), self.now]
        notification = Notification(
            id=notification_id(event_id, target.channel, target.address),
            alert_id=filed.alert.id,
            event_id=event_id,
            channel=target.channel,
            recipient=target.address,
            not_before=self.now,
            event=filed.event,
            occurred_at=filed.occurred_at,
            alert=filed.alert,
            incident=filed.incident,
            route=name,
            step=step,
            rules=self.router.version,
            held=held,
        )
        if all(one.id != notification.id for one in self.outcome.notifications):
            self.outcome.notifications.append(notification)

    def _start_clocks(self, name: str, filed: Sequence[Filed]) -> None:
        """From now on each of these open alerts waits to be acknowledged; of an incident that is
        told in one notice the most severe one, so that nobody is called for each of them."""
        route = self.router.rules.routes.get(name)
        if route is None:
            return
        latest = {one.alert.id: one for one in filed}.values()
        left = sorted((one for one in latest if one.alert.state == "open"), key=_severity)
        for one in {one.incident or one.alert.id: one for one in left}.values():
            self._set_ladder(name, route, one.alert.id, 1)

    def _set_ladder(self, name: str, route: Route, alert_id: str, step: int) -> None:
        key = _told(name, alert_id)
        if step <= len(route.escalate) and key not in self.state.ladders:
            due = self.now + timedelta(minutes=route.escalate[step - 1].minutes)
            self.state.ladders[key] = Ladder(name, alert_id, step, due)

    def _release_id(self, name: str, box: Box) -> str:
        where = (box.route, box.target.person, box.target.channel)
        return identity(name, *_ids(box), *where, self.now.isoformat())

    def _file(self, event: str, filed: Filed, event_id: str, **details: Any) -> None:
        said = {"told": self.told, "held": self.held}
        self.outcome.entries.append(
            Entry(
                event_id=event_id,
                alert_id=filed.alert.id,
                event=event,
                occurred_at=self.now,
                details={**details, **said, "rules": self.router.version},
            )
        )
        self.told, self.held = [], []


def _told(route: str, alert_id: str) -> str:
    return f"{route}\x1f{alert_id}"


def _sent(route: str, target: Target) -> str:
    return "\x1f".join((route, target.person, target.channel))


def _rank(alert: Alert) -> int:
    return SEVERITIES.index(alert.severity)


def _severity(filed: Filed) -> int:
    return _rank(filed.alert)


def _ids(box: Box) -> list[str]:
    return [one.event_id for one in box.held]


def _held(filed: Filed, why: str) -> Held:
    return Held(
        alert_id=filed.alert.id,
        event_id=filed.event_id,
        event=filed.event,
        key=filed.alert.key,
        kind=filed.alert.kind,
        severity=filed.alert.severity,
        occurred_at=filed.occurred_at,
        why=why,
    )
