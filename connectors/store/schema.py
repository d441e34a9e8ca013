"""The tables, the same in SQLite and PostgreSQL. Times are aware UTC with microseconds.

A change here needs a migration in `migrations/versions`, and its name in REVISIONS.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
    true,
)
from sqlalchemy.types import TypeEngine

REVISIONS = ("0001", "0002")
"""The migrations that this version knows, oldest first; the last one is the schema below."""

PEOPLE_COLUMNS = (
    "acknowledged_at",
    "acknowledged_by",
    "assigned_to",
    "disposition",
    "disposition_reason",
    "snoozed_until",
    "closed_at",
    "closed_by",
)
"""The columns of `alerts` that belong to people: no pipeline writes them."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz`, or text `YYYY-MM-DD HH:MM:SS.ffffff` in SQLite.

    Raises ValueError where a datetime without a zone is stored.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(26))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        if value is None:
            return None
        if value.tzinfo is not UTC:
            if value.tzinfo is None:
                raise ValueError(f"the time {value} has no zone: give it in UTC")
            value = value.astimezone(UTC)
        return value.isoformat(" ", "microseconds")[:26] if dialect.name == "sqlite" else value

    def process_result_value(
        self, value: datetime | str | None, dialect: Dialect
    ) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        return value.astimezone(UTC)


_JSON = JSON(none_as_null=True)
_BIG = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


DRAWN = (
    "messages",
    "negative",
    "neutral",
    "positive",
    "abstained",
    "repeats",
    "new_negative",
    "weight_new_negative",
)
"""The counts of windows that dashboards draw."""

COUNTED = ("acknowledged_at", "severity", "kind", "disposition", "id")
"""The columns of alerts by which dashboards count them."""


def _required(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


messages = Table(
    "messages",
    metadata,
    Column("id", Text, primary_key=True),
    _required("source", Text()),
    Column("published_at", UtcDateTime, nullable=False, index=True),
    Column("received_at", UtcDateTime),
    Column("title", Text),
    _required("text", Text()),
    Column("url", Text),
    Column("language", Text),
    _required("entities", _JSON),
    Column("author_hash", Text),
    Column("topic", Text),
    Column("partition", Integer),
    Column("offset", _BIG),
)

tags = Table(
    "tags",
    metadata,
    Column("message_id", Text, ForeignKey("messages.id"), primary_key=True),
    Column("published_at", UtcDateTime, nullable=False, index=True),
    _required("sentiment", Text()),
    _required("topic", Text()),
    _required("negative", Float()),
    _required("neutral", Float()),
    _required("positive", Float()),
    _required("topics", _JSON),
    _required("abstained", Boolean()),
    _required("entities", _JSON),
    Column("by_entity", _JSON),
    _required("listing", Boolean()),
    Column("story", Text, index=True),
    _required("repeat", Boolean()),
    _required("model", _JSON),
    Column("processed_at", UtcDateTime),
)

window_stats = Table(
    "window_stats",
    metadata,
    Column("key", Text, nullable=False),
    Column("start", UtcDateTime, nullable=False),
    Column("seconds", Integer, nullable=False),
    Column("configuration", Text, nullable=False),
    *(
        _required(name, _BIG)
        for name in (
            "messages",
            "negative",
            "neutral",
            "positive",
            "abstained",
            "new_negative",
            "new_neutral",
            "new_positive",
            "repeats",
            "repeats_negative",
            "weight_new",
            "weight_new_negative",
            "weight_repeats",
            "weight_repeats_negative",
            "score_sum",
            "sources",
        )
    ),
    _required("final", Boolean()),
    Column("frontier", UtcDateTime, nullable=False),
    # In the order in which a chart reads: one key of one configuration through time.
    PrimaryKeyConstraint("configuration", "key", "seconds", "start"),
    # What was written of all keys within a period, and since when there is anything.
    Index(None, "configuration", "seconds", "start"),
    # The hours that dashboards draw, without their table and without the far more minutes.
    Index(
        "ix_window_stats_hours",
        "configuration",
        "key",
        "start",
        postgresql_include=DRAWN,
        postgresql_where=text("seconds = 3600"),
        sqlite_where=text("seconds = 3600"),
    ),
    sqlite_with_rowid=False,
)

# The sums of the hours of each day (UTC), for charts of many keys over months. Triggers on
# `window_stats` keep it: whatever writes, replaces or removes an hour changes its day with it.
window_days = Table(
    "window_days",
    metadata,
    Column("configuration", Text, nullable=False),
    Column("start", UtcDateTime, nullable=False),
    Column("key", Text, nullable=False),
    *(_required(name, _BIG) for name in DRAWN),
    # In the order in which a chart reads: all keys of one configuration, day by day.
    PrimaryKeyConstraint("configuration", "start", "key"),
    sqlite_with_rowid=False,
)

spikes = Table(
    "spikes",
    metadata,
    Column("id", Text, primary_key=True),
    _required("key", Text()),
    _required("kind", Text()),
    _required("phase", Text()),
    Column("window_start", UtcDateTime, nullable=False),
    Column("window_end", UtcDateTime, nullable=False),
    _required("scale_seconds", Integer()),
    *(
        _required(name, Float())
        for name in (
            "observed",
            "expected",
            "dispersion",
            "log10_tail",
            "surprise",
            "threshold",
        )
    ),
    _required("severity", Text()),
    _required("negative_share", Float()),
    _required("expected_negative_share", Float()),
    _required("counts", _JSON),
    _required("message_ids", _JSON),
    _required("configuration", Text()),
    _required("model", Text()),
    _required("final", Boolean()),
    Column("run_id", Text),
    Index(None, "key", "window_end"),
    Index(None, "configuration", "window_end"),  # the life of alerts reads them as time passes
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    _required("key", Text()),
    _required("kind", Text()),
    _required("state", Text()),
    _required("severity", Text()),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("resolved_at", UtcDateTime),
    Column("final", Boolean, nullable=False, server_default=true()),
    _required("peak_surprise", Float()),
    _required("peak_observed", Float()),
    _required("expected_at_peak", Float()),
    _required("first_spike_id", Text()),
    _required("peak_spike_id", Text()),
    _required("last_spike_id", Text()),
    _required("spikes", Integer()),
    _required("evidence", _JSON),
    _required("configuration", Text()),
    _required("model", Text()),
    Column("acknowledged_at", UtcDateTime),
    Column("acknowledged_by", Text),
    Column("assigned_to", Text),
    Column("disposition", Text),
    Column("disposition_reason", Text),
    Column("snoozed_until", UtcDateTime),
    Column("closed_at", UtcDateTime),
    Column("closed_by", Text),
    Index(None, "state", "opened_at"),
    Index(None, "opened_at"),
    # A page of a queue is read in its order, severity by severity, whatever it is narrowed by: all
    # alerts, those in a state, those that nobody has acknowledged or disposed of, a person's, a
    # company's. The columns stand behind `evidence`: a scan would read every text of it.
    Index(None, "severity", "opened_at"),
    Index(None, "state", "severity", "opened_at"),
    Index(None, "state", "acknowledged_at", "severity", "opened_at"),
    Index(None, "disposition", "severity", "opened_at"),
    Index(None, "assigned_to", "severity", "opened_at"),
    Index(None, "key", "severity", "opened_at"),
    # What dashboards count, of those that opened in a time and of those that are open, without
    # their table and its texts.
    Index("ix_alerts_drawn", "configuration", "opened_at", *COUNTED),
    Index(
        "ix_alerts_open",
        "configuration",
        "state",  # else SQLite reads it from the table
        *COUNTED,
        postgresql_where=text("state = 'open'"),
        sqlite_where=text("state = 'open'"),
    ),
)

alert_events = Table(
    "alert_events",
    metadata,
    Column("sequence", _BIG, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("alert_id", Text, index=True),  # NULL: an event of no alert, about `subject`
    Column("subject", Text),
    _required("event", Text()),
    Column("final", Boolean, nullable=False, server_default=true()),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    _required("actor", Text()),
    _required("details", _JSON),
    Column("run_id", Text),
    Column("seals", _JSON),
    _required("previous_hash", Text()),
    _required("hash", Text()),
    # What happened to one subject, and the newest of all of them; alerts are not in either.
    Index(
        "ix_alert_events_subject",
        "subject",
        "sequence",
        postgresql_where=text("subject IS NOT NULL"),
        sqlite_where=text("subject IS NOT NULL"),
    ),
    # When an alert was raised by the clock, for how long people took.
    Index(
        "ix_alert_events_raised",
        "alert_id",
        "recorded_at",
        postgresql_where=text("event = 'opened'"),
        sqlite_where=text("event = 'opened'"),
    ),
    Index(
        "ix_alert_events_subjects",
        "sequence",
        postgresql_where=text("subject IS NOT NULL"),
        sqlite_where=text("subject IS NOT NULL"),
    ),
)

evidence_salts = Table(
    "evidence_salts",
    metadata,
    Column("message_id", Text, primary_key=True),
    _required("salt", Text()),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("alert_id", Text, nullable=False),
    _required("event_id", Text()),
    _required("channel", Text()),
    _required("recipient", Text()),
    _required("payload", _JSON),
    _required("state", Text()),
    _required("attempts", Integer()),
    Column("next_attempt_at", UtcDateTime),
    Column("last_error", Text),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("delivered_at", UtcDateTime),
    Index(None, "state", "channel", "next_attempt_at"),
    Index(None, "alert_id", "channel", "state", "attempts"),  # for dashboards, without payloads
)

rule_versions = Table(
    "rule_versions",
    metadata,
    Column("id", Text, primary_key=True),  # the hash of the text, as events name it
    _required("text", Text()),
    Column("recorded_at", UtcDateTime, nullable=False),
)

silences = Table(
    "silences",
    metadata,
    Column("id", Text, primary_key=True),
    _required("owner", Text()),
    _required("reason", Text()),
    _required("keys", _JSON),
    _required("kinds", _JSON),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False, index=True),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("approved_by", Text),
    Column("approved_at", UtcDateTime),
    Column("ended_by", Text),
)

incident_members = Table(
    "incident_members",
    metadata,
    Column("alert_id", Text, primary_key=True),
    Column("incident_id", Text, nullable=False, index=True),
    Column("opened_at", UtcDateTime, nullable=False, index=True),
    _required("stories", _JSON),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Text, primary_key=True),
    _required("source", Text()),
    _required("stage", Text()),
    _required("reason", Text()),
    _required("error", Text()),
    _required("payload", LargeBinary()),
    _required("payload_size", _BIG),
    Column("line", _BIG),
    Column("topic", Text),
    Column("partition", Integer),
    Column("offset", _BIG),
    Column("recorded_at", UtcDateTime),
    Column("retried_at", UtcDateTime),
    Column("run_id", Text),
)

late_messages = Table(
    "late_messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("published_at", UtcDateTime, nullable=False),
    Column("frontier", UtcDateTime, nullable=False),
    _required("reason", Text()),
    Column("run_id", Text),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    _required("kind", Text()),
    _required("manifest", _JSON),
    _required("state", Text()),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("counters", _JSON),
    Column("error", Text),
)

run_state = Table(
    "run_state",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("component", Text, primary_key=True),
    _required("version", Integer()),
    _required("payload", LargeBinary()),
    _required("slice", Integer()),
)

users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    _required("role", Text()),
    Column("password", Text),  # Argon2id; NULL for those whom only OpenID Connect lets in
    Column("subject", Text, unique=True),  # issuer and subject of OpenID Connect
    _required("disabled", Boolean()),
    Column("created_at", UtcDateTime, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),  # SHA-256 of the cookie: a stolen table opens nothing
    Column("user_name", Text, ForeignKey("users.name"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    _required("secret", Text()),  # SHA-256 of it
    Column("user_name", Text, ForeignKey("users.name"), nullable=False, index=True),
    _required("label", Text()),
    _required("scopes", _JSON),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

corrections = Table(
    "corrections",
    metadata,
    Column("id", Text, primary_key=True),
    Column("message_id", Text, ForeignKey("messages.id"), nullable=False, index=True),
    _required("head", Text()),
    _required("label", Text()),
    _required("found", Text()),  # what the model had said
    _required("corrected_by", Text()),
    Column("corrected_at", UtcDateTime, nullable=False, index=True),
)
