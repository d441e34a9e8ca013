"""What people decide on alerts: a state and an action give an event, or a refusal.

`follow` is the one reading of the ledger: the alert's row is what it makes of the alert's events in
their order. Of what a pipeline found, the latest by event time stands, as it was said last and
unless it was withdrawn; a person's event says itself which columns it sets. What a person closed
stays closed.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from alerting.alert import Alert
from alerting.errors import ConfigurationError, DecisionRefused, LedgerError
from alerting.ledger import Entry, LedgerRow
from alerting.spike import identity

MACHINE = "foreshock"
"""Who the ledger names for what no person did."""

MAX_TEXT = 4_000
"""Characters of a comment, a rationale or a name."""


class DecisionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`reasons`: what an alert may be disposed of as."""

    reasons: tuple[str, ...] = (
        "actionable",
        "not-actionable",
        "false-alarm",
        "duplicate",
        "bad-data",
    )

    def __post_init__(self) -> None:
        if not self.reasons or not all(reason.strip() for reason in self.reasons):
            raise ConfigurationError("decisions.reasons is empty or holds an empty one: name some")


class People(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of `alerts` that belong to people. Times are of the clock, UTC."""

    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    assigned_to: str | None = None
    disposition: str | None = None
    disposition_reason: str | None = None
    snoozed_until: datetime | None = None
    closed_at: datetime | None = None
    closed_by: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline's event says now: `row` is the id of the row that said so last."""

    row: str
    alert: Alert
    seals: list[tuple[str, str]]
    withdrawn: bool = False

    @property
    def order(self) -> tuple[bool, datetime, bool]:
        """Which event of an alert stands: the greatest."""
        return not self.withdrawn, self.alert.updated_at, self.alert.state == "resolved"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of an alert; `seals` are of the messages that its row shows.

    `said`: by the id of each event that a pipeline filed; `latest` is the one that stands.
    """

    alert: Alert
    seals: list[tuple[str, str]]
    people: People = People()
    said: dict[str, Said]
    latest: str

    @property
    def state(self) -> str:
        """`open`, or `resolved` by event time or by a person."""
        return "resolved" if self.people.closed_at else self.alert.state


class Acknowledge(msgspec.Struct, frozen=True):
    """I have seen it."""


class Assign(msgspec.Struct, frozen=True):
    """Whose work it is."""

    to: str


class Comment(msgspec.Struct, frozen=True):
    """A remark."""

    text: str


class Snooze(msgspec.Struct, frozen=True):
    """Not before that time, UTC."""

    until: datetime


class Resolve(msgspec.Struct, frozen=True):
    """It is over."""


class Dispose(msgspec.Struct, frozen=True):
    """What it was, and why; `again` where that was said before and was wrong."""

    reason: str
    rationale: str
    again: bool = False


Action = Acknowledge | Assign | Comment | Snooze | Resolve | Dispose


def follow(standing: Standing | None, row: LedgerRow) -> Standing:
    """The alert after one more of its events. Raises `LedgerError` for one that makes no sense."""
    try:
        if "confirms" in row.details:
            return _confirmed(standing, row)
        if "withdraws" in row.details:
            return _withdrawn(standing, row)
        if "alert" in row.details:
            return _found(standing, row)
        return _decided(standing, row)
    except (msgspec.ValidationError, TypeError) as error:
        raise LedgerError(f"event {row.id} cannot be understood: {error}") from error


def follow_all(rows: Iterable[LedgerRow]) -> Standing | None:
    """`follow` over the events of one alert in their order; None where there is none."""
    standing = None
    for row in rows:
        standing = follow(standing, row)
    return standing


def decide(
    standing: Standing,
    action: Action,
    *,
    actor: str,
    now: datetime,
    reasons: Collection[str] = DecisionSettings().reasons,
) -> tuple[Standing, Entry]:
    """The alert after a person's action at `now` (UTC), and the entry that files it.

    Raises `DecisionRefused`, whose one sentence says why.
    """
    name = person(actor)
    alert = standing.alert
    event, columns, details = _outcome(standing, action, name, now, reasons)
    plain = msgspec.to_builtins(columns)
    entry = Entry(
        event_id=identity("decision", alert.id, event, name, now.isoformat()),
        alert_id=alert.id,
        event=event,
        occurred_at=now,
        details={**details, **({"set": plain} if plain else {})},
    )
    people = msgspec.structs.replace(standing.people, **columns)
    return msgspec.structs.replace(standing, people=people), entry


def person(name: str) -> str:
    """The name of who decides, as the ledger has it. Raises `DecisionRefused`."""
    name = stated(name, "the name of who decides")
    if name == MACHINE:
        raise DecisionRefused(f"{MACHINE!r} is what the ledger calls the pipeline: give your name")
    return name


def stated(text: str, what: str) -> str:
    """What somebody said, without blanks around it. Raises `DecisionRefused`."""
    text = text.strip()
    if not text or len(text) > MAX_TEXT:
        raise DecisionRefused(f"{what} has {len(text)} characters: give 1 to {MAX_TEXT:,}")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise DecisionRefused(f"{what} is not valid Unicode text")
    return text


_Outcome = tuple[str, dict[str, Any], dict[str, Any]]
"""The event, the columns that it sets, and what else it says."""


def _outcome(
    standing: Standing, action: Action, actor: str, now: datetime, reasons: Collection[str]
) -> _Outcome:
    match action:
        case Acknowledge():
            return _acknowledged(standing, actor, now)
        case Assign(to):
            return _assigned(standing, to)
        case Comment(text):
            return "commented", {}, {"text": stated(text, "the comment")}
        case Snooze(until):
            return _snoozed(standing, until, now)
        case Resolve():
            return _closed(standing, actor, now)
        case Dispose():
            return _disposed(standing, action, actor, now, reasons)


def _acknowledged(standing: Standing, actor: str, now: datetime) -> _Outcome:
    people = standing.people
    if people.acknowledged_at is not None:
        raise DecisionRefused(
            f"{_named(standing)} was acknowledged by {people.acknowledged_by} on "
            f"{_time(people.acknowledged_at)}: assign it to pass it on"
        )
    return "acknowledged", {"acknowledged_at": now, "acknowledged_by": actor}, {}


def _assigned(standing: Standing, to: str) -> _Outcome:
    to = stated(to, "whom to assign it to")
    if standing.people.assigned_to == to:
        raise DecisionRefused(f"{_named(standing)} is assigned to {to} already")
    if standing.people.disposition is not None:
        raise DecisionRefused(
            f"{_named(standing)} was disposed of as {standing.people.disposition}: "
            "there is nothing left to do on it"
        )
    return "assigned", {"assigned_to": to}, {}


def _snoozed(standing: Standing, until: datetime, now: datetime) -> _Outcome:
    if until <= now:
        raise DecisionRefused(f"{_time(until)} is past: snooze until a time to come")
    if standing.state == "resolved":
        raise DecisionRefused(f"{_named(standing)} is resolved: there is nothing to snooze")
    return "snoozed", {"snoozed_until": until.astimezone(UTC)}, {}


def _closed(standing: Standing, actor: str, now: datetime) -> _Outcome:
    people, alert = standing.people, standing.alert
    if people.closed_at is not None:
        raise DecisionRefused(
            f"{_named(standing)} was resolved by {people.closed_by} on {_time(people.closed_at)}"
        )
    if alert.resolved_at is not None:
        raise DecisionRefused(
            f"{_named(standing)} resolved by itself on {_time(alert.resolved_at)} of event time"
        )
    return "closed", {"closed_at": now, "closed_by": actor}, {}


def _disposed(
    standing: Standing, action: Dispose, actor: str, now: datetime, reasons: Collection[str]
) -> _Outcome:
    people = standing.people
    if action.reason not in reasons:
        raise DecisionRefused(
            f"{action.reason!r} is not a reason to dispose of an alert: take {', '.join(reasons)}, "
            "or configure others ([decisions] reasons)"
        )
    if people.disposition is not None and not action.again:
        raise DecisionRefused(
            f"{_named(standing)} was disposed of as {people.disposition}: say --again to replace it"
        )
    columns: dict[str, Any] = {
        "disposition": action.reason,
        "disposition_reason": stated(action.rationale, "the rationale"),
    }
    if people.closed_at is None:
        columns |= {"closed_at": now, "closed_by": actor}
    return "disposed", columns, {"replaces": people.disposition} if people.disposition else {}


def latest(said: dict[str, Said]) -> str:
    """The id of the event that stands; where all were withdrawn, of the last one of them."""
    return max(reversed(said), key=lambda event_id: said[event_id].order)


def _found(standing: Standing | None, row: LedgerRow) -> Standing:
    alert = msgspec.convert(row.details["alert"], Alert)
    said = Said(row=row.id, alert=alert, seals=_seals(row))
    return _standing(standing, str(row.details.get("revises", row.id)), said)


def _confirmed(standing: Standing | None, row: LedgerRow) -> Standing:
    event_id = str(row.details["confirms"])
    said = _known(standing, event_id, row)
    alert = msgspec.structs.replace(said.alert, final=True)
    return _standing(standing, event_id, msgspec.structs.replace(said, alert=alert))


def _withdrawn(standing: Standing | None, row: LedgerRow) -> Standing:
    """What stands instead comes with the event, and seals with it."""
    event_id = str(row.details["withdraws"])
    said = _known(standing, event_id, row)
    said = msgspec.structs.replace(said, row=row.id, withdrawn=True)
    after = _standing(standing, event_id, said)
    instead = msgspec.structs.replace(after.said[after.latest], seals=_seals(row))
    return msgspec.structs.replace(
        after,
        alert=msgspec.convert(row.details["alert"], Alert),
        seals=instead.seals,
        said={**after.said, after.latest: instead},
    )


def _known(standing: Standing | None, event_id: str, row: LedgerRow) -> Said:
    if standing is None or event_id not in standing.said:
        raise LedgerError(f"event {row.id} speaks of event {event_id}, which was never filed")
    return standing.said[event_id]


def _seals(row: LedgerRow) -> list[tuple[str, str]]:
    return [(message_id, seal) for message_id, seal in row.seals or ()]


def _standing(before: Standing | None, event_id: str, said: Said) -> Standing:
    known = {**(before.said if before else {}), event_id: said}
    stands = latest(known)
    return Standing(
        alert=known[stands].alert,
        seals=known[stands].seals,
        people=before.people if before else People(),
        said=known,
        latest=stands,
    )


def _decided(standing: Standing | None, row: LedgerRow) -> Standing:
    if standing is None:
        raise LedgerError(f"event {row.id} decides on an alert that was never opened")
    changed = msgspec.to_builtins(standing.people) | row.details.get("set", {})
    people = msgspec.convert(changed, People)
    return msgspec.structs.replace(standing, people=people)


def _named(standing: Standing) -> str:
    return f"alert {standing.alert.id[:12]}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
