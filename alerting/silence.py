"""A silence: for a while nobody is told of certain alerts; they are filed all the same.

It has an owner and an end, and holds once it is approved: by its owner himself, or, where the rules
ask for a second person, by another one.
"""

from datetime import UTC, datetime

import msgspec

from alerting.alert import Alert
from alerting.approval import second
from alerting.decisions import person, stated
from alerting.errors import DecisionRefused
from alerting.spike import KINDS, identity
from alerting.windows import OVERALL

LONGEST_DAYS = 90

_KEYS = ("entity:", "topic:")


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """`keys` and `kinds`: of the alerts, all where none is named. Times are of the clock, UTC;
    it holds from `starts_at` up to `ends_at`, if it is approved."""

    id: str
    owner: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    keys: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    approved_by: str | None = None
    approved_at: datetime | None = None
    ended_by: str | None = None

    def covers(self, alert: Alert, now: datetime) -> bool:
        """Whether it holds at `now` (UTC) for this alert."""
        return (
            self.approved_at is not None
            and self.starts_at <= now < self.ends_at
            and (not self.keys or alert.key in self.keys)
            and (not self.kinds or alert.kind in self.kinds)
        )


def propose(
    *,
    owner: str,
    reason: str,
    starts_at: datetime,
    ends_at: datetime,
    keys: tuple[str, ...],
    kinds: tuple[str, ...],
    now: datetime,
    second_person: bool,
) -> Silence:
    """A silence that its owner asks for at `now` (UTC); it holds at once, unless a second person
    has to approve it. Raises `DecisionRefused`."""
    owner, reason = person(owner), stated(reason, "the reason")
    if not keys and not kinds:
        raise DecisionRefused("that would silence everything: name keys or kinds")
    if strange := [key for key in keys if key != OVERALL and not key.startswith(_KEYS)]:
        raise DecisionRefused(
            f"{strange[0]!r} is no key of an alert: write entity:AMZN, topic:Earnings or overall"
        )
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise DecisionRefused(f"{unknown[0]!r} is no kind of alert: take {', '.join(KINDS)}")
    if starts_at < now:
        raise DecisionRefused(
            f"it would begin on {_time(starts_at)}, which is past (it is {_time(now)}): nobody is "
            "silenced after the fact, begin it now or later"
        )
    if ends_at <= now:
        raise DecisionRefused(
            f"it would end on {_time(ends_at)}, which is past (it is {_time(now)}): end it later"
        )
    if ends_at <= starts_at:
        raise DecisionRefused(
            f"it would end on {_time(ends_at)}, and begin on {_time(starts_at)}: end it later"
        )
    if (ends_at - starts_at).days >= LONGEST_DAYS:
        raise DecisionRefused(f"a silence lasts less than {LONGEST_DAYS} days: end it earlier")
    silence = Silence(
        id=identity("silence", owner, now.isoformat(), ends_at.isoformat(), *keys, *kinds),
        owner=owner,
        reason=reason,
        starts_at=starts_at,
        ends_at=ends_at,
        keys=keys,
        kinds=kinds,
    )
    if second_person:
        return silence
    return msgspec.structs.replace(silence, approved_by=silence.owner, approved_at=now)


def approve(silence: Silence, *, actor: str, now: datetime) -> Silence:
    """The silence, approved by a second person. Raises `DecisionRefused`."""
    _check_lasts(silence, now)
    if silence.approved_at is not None:
        by = "needs nobody's approval"
        if silence.approved_by != silence.owner:
            by = f"was approved by {silence.approved_by} on {_time(silence.approved_at)} already"
        raise DecisionRefused(f"silence {silence.id[:12]} {by}")
    name = second(actor, silence.owner)
    return msgspec.structs.replace(silence, approved_by=name, approved_at=now)


def end(silence: Silence, *, actor: str, now: datetime) -> Silence:
    """The silence, ended before its time, or refused where nobody has approved it yet. Raises
    `DecisionRefused`."""
    _check_lasts(silence, now)
    return msgspec.structs.replace(silence, ends_at=now, ended_by=person(actor))


def _check_lasts(silence: Silence, now: datetime) -> None:
    if now < silence.ends_at:
        return
    if silence.ended_by is not None:
        how = f"was {'ended' if silence.approved_at else 'refused'} by {silence.ended_by}"
    else:
        how = "ended" if silence.approved_at else "lapsed, approved by nobody,"
    raise DecisionRefused(
        f"silence {silence.id[:12]} {how} on {_time(silence.ends_at)}: ask for a new one"
    )


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
