"""Which alerts concern whom, and how they are to be told: the rules file, checked as a whole.

Rules say which alerts go to which route; routes say who is told by which channels, when not, how
often at most, and who is next where nobody acknowledges in time.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from alerting.alert import Alert
from alerting.detectors.surge import BUDGETS, SHARE_OF_BUDGET
from alerting.errors import ConfigurationError
from alerting.spike import KINDS, SEVERITIES

_MIDNIGHT = time(0)
_MOST_BUDGET = 10_000.0
_MOST_MINUTES = 30 * 24 * 60.0

_Kind = TypeVar("_Kind")


class WatchList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody watches. `budget`: false alarms a week over the whole list (fewer, balanced,
    more, or a number); it is shared out over its keys, and what is less surprising is left out. It
    cannot bring back what the detector's own budget left out."""

    entities: tuple[str, ...] = ()
    sectors: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    budget: str | float | None = None

    def __post_init__(self) -> None:
        if not (self.entities or self.sectors or self.topics):
            raise ConfigurationError("a watch list is empty: name entities, sectors or topics")
        if isinstance(self.budget, str) and self.budget not in BUDGETS:
            raise ConfigurationError(
                f"a watch list's budget is {self.budget!r}: give {', '.join(BUDGETS)} or a number"
            )
        if isinstance(self.budget, float):
            _more_than_nothing(self.budget, _MOST_BUDGET, "a watch list's budget is")


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alerts on one of these entities, sectors, topics or on the `list` (a watch list); on all keys
    where none is named. Of these `kinds`, from this `severity` and this many `observed` on.
    `provisional`: false where only what is final is told. `route`: its name."""

    name: str
    route: str
    list: str | None = None
    entities: tuple[str, ...] = ()
    sectors: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    kinds: tuple[str, ...] = KINDS
    severity: str = SEVERITIES[0]
    observed: float = 0.0
    provisional: bool = True

    def __post_init__(self) -> None:
        for kind in self.kinds:
            _one_of(kind, KINDS, "its kind")
        _one_of(self.severity, SEVERITIES, "its severity")
        if not 0 <= self.observed < math.inf:
            raise ConfigurationError(f"observed is {self.observed:g}: give a count, 0 or more")


class Quiet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From `start` to `end` of each day (`22:00`), over midnight where that is earlier, and all of
    Saturday and Sunday with `weekends`; by the clock of `zone`. `unless`: at least this severe
    disturbs."""

    start: str
    end: str
    zone: str = "UTC"
    weekends: bool = False
    unless: str = SEVERITIES[-1]

    def __post_init__(self) -> None:
        _clock(self.start, "quiet.start")
        _clock(self.end, "quiet.end")
        _one_of(self.unless, SEVERITIES, "quiet.unless")
        try:
            ZoneInfo(self.zone)
        except (KeyError, OSError, ValueError) as error:
            raise ConfigurationError(
                f"there is no time zone {self.zone!r}: write one as Europe/Berlin"
            ) from error

    def until(self, now: datetime) -> datetime | None:
        """When the quiet that holds at `now` (UTC) ends; None where it is not quiet."""
        at = now
        while self._holds(at):
            at = self._next_edge(at)
        return None if at == now else at

    def _holds(self, at: datetime) -> bool:
        local = at.astimezone(ZoneInfo(self.zone))
        if self.weekends and local.weekday() >= 5:
            return True
        start, end, clock = *self._hours, local.time()
        return start <= clock < end if start <= end else not end <= clock < start

    @property
    def _hours(self) -> tuple[time, time]:
        return _clock(self.start, "quiet.start"), _clock(self.end, "quiet.end")

    def _next_edge(self, at: datetime) -> datetime:
        zone = ZoneInfo(self.zone)
        today = at.astimezone(zone).date()
        edges = (
            datetime.combine(today + timedelta(days=days), clock, zone).astimezone(UTC)
            for days in (0, 1, 2)
            for clock in (_MIDNIGHT, *self._hours)
        )
        return min(edge for edge in edges if edge > at)


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most so many notices in so many minutes to each recipient; the rest comes as one digest.
    `unless`: at least this severe comes all the same."""

    most: int
    minutes: float
    unless: str = SEVERITIES[-1]

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ConfigurationError(f"limit.most is {self.most}: give 1 or more")
        _more_than_nothing(self.minutes, _MOST_MINUTES, "limit.minutes is")
        _one_of(self.unless, SEVERITIES, "limit.unless")


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So long after the step before, where nobody has acknowledged, these are told too."""

    minutes: float
    to: tuple[str, ...]

    def __post_init__(self) -> None:
        _more_than_nothing(self.minutes, _MOST_MINUTES, "a step of escalate has minutes =")


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`to`: people and teams. `channels`: by which; by all that a person has where none is named.
    `wait_seconds`: so long what belongs together is gathered before it is told."""

    to: tuple[str, ...]
    channels: tuple[str, ...] = ()
    wait_seconds: float = 0.0
    quiet: Quiet | None = None
    limit: Limit | None = None
    escalate: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.wait_seconds <= 60 * _MOST_MINUTES:
            raise ConfigurationError(
                f"wait_seconds is {self.wait_seconds:g}: give 0 or more, at most "
                f"{60 * _MOST_MINUTES:g}"
            )


class Approvals(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a second person has to approve: changes of these `rules`, `silences`. While a version is
    in force that asks for it, so does whatever follows it."""

    rules: bool = False
    silences: bool = False


class Target(msgspec.Struct, frozen=True, order=True):
    """Somebody by one channel; `address` as the channel understands it."""

    person: str
    channel: str
    address: str


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `people`: name -> channel -> address. `teams`: name -> people."""

    people: dict[str, dict[str, str]]
    teams: dict[str, tuple[str, ...]] = {}
    lists: dict[str, WatchList] = {}
    routes: dict[str, Route]
    rules: tuple[Rule, ...]
    approvals: Approvals = Approvals()

    def __post_init__(self) -> None:
        for name, members in self.teams.items():
            if name in self.people:
                raise ConfigurationError(f"{name!r} is a person and a team: rename one")
            for member in members:
                _one_of(member, self.people, f"a member of team {name!r}")
        for name, route in self.routes.items():
            for target in (*route.to, *(one for step in route.escalate for one in step.to)):
                _one_of(target, (*self.people, *self.teams), f"whom route {name!r} tells")
            for channel in route.channels:
                _one_of(channel, self.channels, f"a channel of route {name!r}")
            for to in (route.to, *(step.to for step in route.escalate)):
                if not self.targets(route, to):
                    told = ", ".join(map(repr, to)) or "nobody"
                    raise ConfigurationError(
                        f"route {name!r} tells {told}, whom none of its channels reaches: an "
                        "alert would be told to nobody"
                    )
        names = [rule.name for rule in self.rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigurationError(
                f"two rules have the name {twice[0]!r}, by which the record names the one that was "
                "met: rename one"
            )
        for rule in self.rules:
            _one_of(rule.route, self.routes, f"the route of rule {rule.name!r}")
            if rule.list is not None:
                _one_of(rule.list, self.lists, f"the list of rule {rule.name!r}")

    @property
    def channels(self) -> set[str]:
        """Every channel by which somebody is reached."""
        return {channel for person in self.people.values() for channel in person}

    @property
    def about(self) -> list[tuple[str, "Rule | WatchList"]]:
        """All that names entities, sectors or topics, and what to call it."""
        lists = [(f"list {name!r}", watched) for name, watched in self.lists.items()]
        return [*lists, *((f"rule {rule.name!r}", rule) for rule in self.rules)]

    def targets(self, route: Route, to: tuple[str, ...]) -> list[Target]:
        """Who is reached how, where `route` tells `to`; each once."""
        people = dict.fromkeys(name for one in to for name in self.teams.get(one, (one,)))
        return [
            Target(name, channel, address)
            for name in people
            for channel, address in self.people[name].items()
            if channel in (route.channels or self.channels)
        ]

    def matching(self, alert: Alert, sectors: Mapping[str, str]) -> Iterator[Rule]:
        """The rules that an alert meets, in their order. `sectors`: entity -> its sector."""
        return (rule for rule in self.rules if self._meets(alert, rule, sectors))

    def _meets(self, alert: Alert, rule: Rule, sectors: Mapping[str, str]) -> bool:
        watched = self.lists[rule.list] if rule.list else None
        named = [rule] if rule.entities or rule.sectors or rule.topics else []
        about: list[Rule | WatchList] = [*named, *([watched] if watched else [])]
        return (
            alert.kind in rule.kinds
            and SEVERITIES.index(alert.severity) >= SEVERITIES.index(rule.severity)
            and alert.peak_observed >= rule.observed
            and (alert.final or rule.provisional)
            and (not about or any(is_about(one, alert.key, sectors) for one in about))
            and (watched is None or alert.peak_surprise >= least_surprise(watched, alert, sectors))
        )


def is_about(watched: Rule | WatchList, key: str, sectors: Mapping[str, str]) -> bool:
    """Whether a key is among what is named."""
    kind, _, name = key.partition(":")
    if kind == "entity":
        return name in watched.entities or sectors.get(name, "") in watched.sectors
    return kind == "topic" and name in watched.topics


def least_surprise(watched: WatchList, alert: Alert, sectors: Mapping[str, str]) -> float:
    """`surprise` that spends no more than a key's share of the list's budget.

    `Spike.surprise` is -log10 of the false alarms a week that its key would give, so a share of
    budget * share of the kind / keys is met from -log10 of that on.
    """
    if watched.budget is None:
        return -math.inf
    budget = BUDGETS[watched.budget] if isinstance(watched.budget, str) else watched.budget
    companies = {name for name, sector in sectors.items() if sector in watched.sectors}
    keys = len(companies.union(watched.entities)) + len(watched.topics)
    return -math.log10(budget * SHARE_OF_BUDGET[alert.kind] / max(keys, 1))


def parse(payload: bytes) -> tuple[Rules, str]:
    """The rules of a TOML file, and the hash that names this version of them.

    Raises `ConfigurationError`.
    """
    try:
        found = msgspec.toml.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(" ".join(str(error).split())) from error
    for what, value, kind in _parts(found):
        _converted(value, kind, f"{what}: ")
    return _converted(found, Rules, ""), version_of(payload)


def _parts(found: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What a wrong value is looked for in by itself, so that it is told by its name."""
    for table, what, kind in _NAMED:
        for name, value in _table(found, table).items():
            yield f"{what} {name!r}", value, kind
    rules = found.get("rules")
    for number, value in enumerate(rules if isinstance(rules, list) else (), start=1):
        called = value.get("name") if isinstance(value, dict) else None
        yield f"rule {called!r}" if isinstance(called, str) else f"rule {number}", value, Rule


_NAMED = (
    ("people", "person", dict[str, str]),
    ("teams", "team", tuple[str, ...]),
    ("lists", "list", WatchList),
    ("routes", "route", Route),
)


def _table(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What is there under the name, nothing where it is no table: that is said of the whole."""
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def _converted(value: Any, kind: type[_Kind], where: str) -> _Kind:
    """The value as that type. Raises `ConfigurationError`, which begins with `where` it stands."""
    try:
        return msgspec.convert(value, kind)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}{error}") from error
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at ")
        at = place.strip("`").removeprefix("$").removeprefix("[...]").removeprefix(".")
        for theirs, ours in _WORDS:
            said = said.replace(theirs, ours)
        raise ConfigurationError(f"{where}{f'{at}: ' if at else ''}{said}") from error


_WORDS = (
    ("Object missing", "it lacks the"),
    ("Object contains", "there is the"),
    ("`object`", "a table"),
    ("Expected", "expected"),
)
"""What TOML calls otherwise."""


def version_of(payload: bytes) -> str:
    """The hash that names a version of the rules: 16 hexadecimal digits of its text's SHA-256."""
    return hashlib.sha256(payload).hexdigest()[:16]


def _clock(text: str, what: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007
    except ValueError as error:
        raise ConfigurationError(
            f"{what} is {text!r}, which is no time of day: write it as 22:00"
        ) from error


def _more_than_nothing(value: float, most: float, what: str) -> None:
    if not 0 < value <= most:
        raise ConfigurationError(f"{what} {value:g}: give more than 0, at most {most:g}")


def _one_of(name: str, known: Mapping[str, object] | tuple[str, ...] | set[str], what: str) -> None:
    if name not in known:
        listed = known if isinstance(known, tuple) else sorted(known)
        raise ConfigurationError(f"{what} is {name!r}: give one of {', '.join(listed)}")
