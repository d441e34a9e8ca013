"""What the API takes and gives. Times are UTC; lists continue with `after` = the list's `next`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from alerting.decisions import MAX_TEXT
from pipelines.console.queries import Cursor, Row
from pipelines.naming import display_name


def _plain(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character, which no store keeps")
    return text


def _written(given: object) -> object:
    """Not as a number, which would be taken as seconds since 1970."""
    if not isinstance(given, str) or not given[:4].isdigit() or given[4:5] != "-":
        raise ValueError("is no time: write 2026-03-01T09:00:00Z")
    return given


def _reachable(moment: datetime) -> datetime:
    """In UTC, which the first and the last day of the calendar need not have."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is beyond the calendar") from error


Moment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_reachable)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT), AfterValidator(_plain)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_plain)]
Limit = Annotated[int, Query(ge=1, le=500, description="Rows at most.")]
After = Annotated[str, Query(max_length=400, description="`next` of the list before.")]

Severity = Literal["low", "medium", "high", "critical"]
State = Literal["open", "resolved"]
Sentiment = Literal["negative", "neutral", "positive"]


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class Alert(BaseModel):
    """An alert, without its evidence."""

    id: str
    key: str
    name: str
    kind: str
    state: str
    severity: Severity
    final: bool
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    peak_surprise: float
    peak_observed: float
    expected_at_peak: float
    spikes: int
    configuration: str
    model: str
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    assigned_to: str | None
    disposition: str | None
    disposition_reason: str | None
    snoozed_until: datetime | None
    closed_at: datetime | None
    closed_by: str | None

    @classmethod
    def of(cls, row: Row) -> "Alert":
        """From a row of `alerts`."""
        return cls.model_validate({**row, "name": display_name(row["key"])})


class FullAlert(Alert):
    """An alert with its evidence: figures, and the messages that weigh most as they were shown."""

    evidence: dict[str, Any]


class Alerts(BaseModel):
    """One page of alerts."""

    items: list[Alert]
    next: str | None


class Event(BaseModel):
    """A row of the ledger."""

    sequence: int
    id: str
    alert_id: str
    event: str
    occurred_at: datetime
    recorded_at: datetime
    actor: str
    details: dict[str, Any]
    previous_hash: str
    hash: str


class Message(BaseModel):
    """A message with its tags. Its text is what somebody wrote: never markup, never trusted."""

    id: str
    source: str
    published_at: datetime
    title: str | None
    text: str
    url: str | None
    language: str | None
    sentiment: Sentiment
    topic: str
    negative: float
    neutral: float
    positive: float
    abstained: bool
    entities: list[str]
    story: str | None
    repeat: bool
    model: dict[str, Any]


class Messages(BaseModel):
    """One page of messages; `searched_back_to` where the search stopped before the end."""

    items: list[Message]
    next: str | None
    searched_back_to: datetime | None


class Window(BaseModel):
    """Counts of one key over a minute or an hour; sums and weights in units of 1e-6."""

    key: str
    start: datetime
    seconds: int
    messages: int
    negative: int
    neutral: int
    positive: int
    abstained: int
    new_negative: int
    repeats: int
    repeats_negative: int
    weight_new: int
    weight_new_negative: int
    score_sum: int
    sources: int
    final: bool


class Windows(BaseModel):
    """One page of windows of one configuration, by time; `next` is the `start` to go on from."""

    configuration: str
    items: list[Window]
    next: datetime | None


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Assign(_Body):
    """Whose work it is: a user who may triage."""

    to: Name


class Comment(_Body):
    """A remark."""

    text: Words


class Snooze(_Body):
    """Not before that time."""

    until: Moment


class Dispose(_Body):
    """What it was; one of the configured reasons. `again` replaces what was said before."""

    reason: Name
    rationale: Words
    again: bool = False


class Correction(_Body):
    """What a head should have said of a message."""

    message_id: Annotated[
        str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_plain)
    ]
    head: Literal["sentiment", "topic"]
    label: Name


class Corrected(BaseModel):
    """A correction that is kept."""

    message_id: str
    head: str
    label: str
    found: str
    corrected_by: str
    corrected_at: datetime


class Texts(_Body):
    """Texts to tag: their number times their length is bounded."""

    texts: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=20_000)]],
        Field(min_length=1, max_length=64),
    ]


class Tagged(BaseModel):
    """What the model says of each text, in their order."""

    items: list[dict[str, Any]]


class Identity(BaseModel):
    """Who the key belongs to, and what it may do."""

    name: str
    role: str
    permissions: list[str]


def following(cursor: Cursor | None) -> str | None:
    """A list's `next`."""
    return cursor.encode() if cursor else None
