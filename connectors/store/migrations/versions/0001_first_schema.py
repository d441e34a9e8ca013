"""The first schema: all the tables, and a ledger that can only be added to."""

import sqlalchemy as sa
from alembic import op

from connectors.store.schema import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")
JSON = sa.JSON(none_as_null=True)

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

COUNTED = ("acknowledged_at", "severity", "kind", "disposition", "id")

LEDGER_TRIGGERS_SQLITE = (
    """
    CREATE TRIGGER alert_events_no_update BEFORE UPDATE ON alert_events
    BEGIN SELECT RAISE(ABORT, 'alert_events is append-only'); END
    """,
    """
    CREATE TRIGGER alert_events_no_delete BEFORE DELETE ON alert_events
    BEGIN SELECT RAISE(ABORT, 'alert_events is append-only'); END
    """,
    # INSERT OR REPLACE deletes without the trigger above where recursive_triggers is off.
    """
    CREATE TRIGGER alert_events_no_replace BEFORE INSERT ON alert_events
    WHEN EXISTS (SELECT 1 FROM alert_events WHERE sequence = NEW.sequence OR id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'alert_events is append-only'); END
    """,
)
LEDGER_TRIGGERS_POSTGRESQL = (
    """
    CREATE FUNCTION alert_events_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'alert_events is append-only'; END $$
    """,
    """
    CREATE TRIGGER alert_events_no_change BEFORE UPDATE OR DELETE ON alert_events
    FOR EACH ROW EXECUTE FUNCTION alert_events_refuse()
    """,
    """
    CREATE TRIGGER alert_events_no_truncate BEFORE TRUNCATE ON alert_events
    FOR EACH STATEMENT EXECUTE FUNCTION alert_events_refuse()
    """,
)


def _listed(form: str) -> str:
    return ", ".join(form.format(name) for name in DRAWN)


# A day is the sum of its hours: an hour that comes is added, one that goes taken out, one that is
# replaced both. Differences, and not the sum made anew, stay right where two write at a time.
_ADD = f"""
    INSERT INTO window_days (configuration, start, key, {_listed("{}")})
    VALUES (NEW.configuration, {{day}}, NEW.key, {_listed("NEW.{}")})
    ON CONFLICT (configuration, start, key)
    DO UPDATE SET {_listed("{0} = window_days.{0} + excluded.{0}")};
"""  # noqa: S608 - of the constants above
_TAKE_OUT = f"""
    UPDATE window_days SET {_listed("{0} = {0} - OLD.{0}")}
    WHERE configuration = OLD.configuration AND start = {{day}} AND key = OLD.key;
"""  # noqa: S608 - of the constants above
_FORGET = """
    DELETE FROM window_days
    WHERE configuration = OLD.configuration AND start = {day} AND key = OLD.key AND messages = 0;
"""


def _day_triggers_sqlite() -> tuple[str, ...]:
    day = "substr({}.start, 1, 10) || ' 00:00:00.000000'"
    add = _ADD.format(day=day.format("NEW"))
    take_out, forget = (part.format(day=day.format("OLD")) for part in (_TAKE_OUT, _FORGET))
    return tuple(
        f"""
        CREATE TRIGGER window_days_{change} AFTER {change} ON window_stats
        WHEN {row}.seconds = 3600 BEGIN {done} END
        """
        for change, row, done in (
            ("insert", "NEW", add),
            ("update", "NEW", take_out + add),
            ("delete", "OLD", take_out + forget),
        )
    )


def _day_triggers_postgresql() -> tuple[str, ...]:
    day = "date_trunc('day', {}.start, 'UTC')"
    add = _ADD.format(day=day.format("NEW"))
    take_out, forget = (part.format(day=day.format("OLD")) for part in (_TAKE_OUT, _FORGET))
    return (
        f"""
        CREATE FUNCTION window_days_follow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF TG_OP <> 'INSERT' THEN {take_out} END IF;
            IF TG_OP = 'DELETE' THEN {forget} ELSE {add} END IF;
            RETURN NULL;
        END $$
        """,
        *(
            f"""
            CREATE TRIGGER window_days_{name} AFTER {change} ON window_stats FOR EACH ROW
            WHEN ({row}.seconds = 3600) EXECUTE FUNCTION window_days_follow()
            """
            for name, change, row in (
                ("written", "INSERT OR UPDATE", "NEW"),
                ("removed", "DELETE", "OLD"),
            )
        ),
    )


def upgrade() -> None:
    op.create_table(
        "alert_events",
        sa.Column("sequence", BIG, autoincrement=False, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("alert_id", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("final", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("occurred_at", UtcDateTime, nullable=False),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("details", JSON, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("seals", JSON),
        sa.Column("previous_hash", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_alert_events"),
        sa.UniqueConstraint("id", name="uq_alert_events_id"),
    )
    op.create_index("ix_alert_events_alert_id", "alert_events", ["alert_id"])
    op.create_index(
        "ix_alert_events_raised",
        "alert_events",
        ["alert_id", "recorded_at"],
        postgresql_where=sa.text("event = 'opened'"),
        sqlite_where=sa.text("event = 'opened'"),
    )
    op.create_index(
        "ix_alert_events_subject",
        "alert_events",
        ["subject", "sequence"],
        postgresql_where=sa.text("subject IS NOT NULL"),
        sqlite_where=sa.text("subject IS NOT NULL"),
    )
    op.create_index(
        "ix_alert_events_subjects",
        "alert_events",
        ["sequence"],
        postgresql_where=sa.text("subject IS NOT NULL"),
        sqlite_where=sa.text("subject IS NOT NULL"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("resolved_at", UtcDateTime),
        sa.Column("final", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("peak_surprise", sa.Float, nullable=False),
        sa.Column("peak_observed", sa.Float, nullable=False),
        sa.Column("expected_at_peak", sa.Float, nullable=False),
        sa.Column("first_spike_id", sa.Text, nullable=False),
        sa.Column("peak_spike_id", sa.Text, nullable=False),
        sa.Column("last_spike_id", sa.Text, nullable=False),
        sa.Column("spikes", sa.Integer, nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.Column("configuration", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("acknowledged_at", UtcDateTime),
        sa.Column("acknowledged_by", sa.Text),
        sa.Column("assigned_to", sa.Text),
        sa.Column("disposition", sa.Text),
        sa.Column("disposition_reason", sa.Text),
        sa.Column("snoozed_until", UtcDateTime),
        sa.Column("closed_at", UtcDateTime),
        sa.Column("closed_by", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
    )
    for columns in (
        ["state", "opened_at"],
        ["opened_at"],
        ["severity", "opened_at"],
        ["state", "severity", "opened_at"],
        ["state", "acknowledged_at", "severity", "opened_at"],
        ["disposition", "severity", "opened_at"],
        ["assigned_to", "severity", "opened_at"],
        ["key", "severity", "opened_at"],
    ):
        op.create_index(f"ix_alerts_{'_'.join(columns)}", "alerts", columns)
    op.create_index("ix_alerts_drawn", "alerts", ["configuration", "opened_at", *COUNTED])
    op.create_index(
        "ix_alerts_open",
        "alerts",
        ["configuration", "state", *COUNTED],
        postgresql_where=sa.text("state = 'open'"),
        sqlite_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("payload_size", BIG, nullable=False),
        sa.Column("line", BIG),
        sa.Column("topic", sa.Text),
        sa.Column("partition", sa.Integer),
        sa.Column("offset", BIG),
        sa.Column("recorded_at", UtcDateTime),
        sa.Column("retried_at", UtcDateTime),
        sa.Column("run_id", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_dead_letters"),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("alert_id", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", UtcDateTime),
        sa.Column("last_error", sa.Text),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.Column("delivered_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
    )
    op.create_index(
        "ix_deliveries_alert_id_channel_state_attempts",
        "deliveries",
        ["alert_id", "channel", "state", "attempts"],
    )
    op.create_index(
        "ix_deliveries_state_channel_next_attempt_at",
        "deliveries",
        ["state", "channel", "next_attempt_at"],
    )
    op.create_table(
        "rule_versions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rule_versions"),
    )
    op.create_table(
        "silences",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("keys", JSON, nullable=False),
        sa.Column("kinds", JSON, nullable=False),
        sa.Column("starts_at", UtcDateTime, nullable=False),
        sa.Column("ends_at", UtcDateTime, nullable=False),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.Column("approved_by", sa.Text),
        sa.Column("approved_at", UtcDateTime),
        sa.Column("ended_by", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_silences"),
    )
    op.create_index("ix_silences_ends_at", "silences", ["ends_at"])
    op.create_table(
        "incident_members",
        sa.Column("alert_id", sa.Text, nullable=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("stories", JSON, nullable=False),
        sa.PrimaryKeyConstraint("alert_id", name="pk_incident_members"),
    )
    op.create_index("ix_incident_members_incident_id", "incident_members", ["incident_id"])
    op.create_index("ix_incident_members_opened_at", "incident_members", ["opened_at"])
    op.create_table(
        "evidence_salts",
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("salt", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("message_id", name="pk_evidence_salts"),
    )
    op.create_table(
        "late_messages",
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("published_at", UtcDateTime, nullable=False),
        sa.Column("frontier", UtcDateTime, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.PrimaryKeyConstraint("message_id", name="pk_late_messages"),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("published_at", UtcDateTime, nullable=False),
        sa.Column("received_at", UtcDateTime),
        sa.Column("title", sa.Text),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("language", sa.Text),
        sa.Column("entities", JSON, nullable=False),
        sa.Column("author_hash", sa.Text),
        sa.Column("topic", sa.Text),
        sa.Column("partition", sa.Integer),
        sa.Column("offset", BIG),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
    )
    op.create_index("ix_messages_published_at", "messages", ["published_at"])
    op.create_table(
        "run_state",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("component", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("slice", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "component", name="pk_run_state"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("manifest", JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("finished_at", UtcDateTime),
        sa.Column("counters", JSON),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_table(
        "spikes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("window_start", UtcDateTime, nullable=False),
        sa.Column("window_end", UtcDateTime, nullable=False),
        sa.Column("scale_seconds", sa.Integer, nullable=False),
        sa.Column("observed", sa.Float, nullable=False),
        sa.Column("expected", sa.Float, nullable=False),
        sa.Column("dispersion", sa.Float, nullable=False),
        sa.Column("log10_tail", sa.Float, nullable=False),
        sa.Column("surprise", sa.Float, nullable=False),
        sa.Column("threshold", sa.Float, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("negative_share", sa.Float, nullable=False),
        sa.Column("expected_negative_share", sa.Float, nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("message_ids", JSON, nullable=False),
        sa.Column("configuration", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("final", sa.Boolean, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_spikes"),
    )
    op.create_index("ix_spikes_key_window_end", "spikes", ["key", "window_end"])
    op.create_index("ix_spikes_configuration_window_end", "spikes", ["configuration", "window_end"])
    op.create_table(
        "window_stats",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("start", UtcDateTime, nullable=False),
        sa.Column("seconds", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("configuration", sa.Text, nullable=False),
        sa.Column("messages", BIG, nullable=False),
        sa.Column("negative", BIG, nullable=False),
        sa.Column("neutral", BIG, nullable=False),
        sa.Column("positive", BIG, nullable=False),
        sa.Column("abstained", BIG, nullable=False),
        sa.Column("new_negative", BIG, nullable=False),
        sa.Column("new_neutral", BIG, nullable=False),
        sa.Column("new_positive", BIG, nullable=False),
        sa.Column("repeats", BIG, nullable=False),
        sa.Column("repeats_negative", BIG, nullable=False),
        sa.Column("weight_new", BIG, nullable=False),
        sa.Column("weight_new_negative", BIG, nullable=False),
        sa.Column("weight_repeats", BIG, nullable=False),
        sa.Column("weight_repeats_negative", BIG, nullable=False),
        sa.Column("score_sum", BIG, nullable=False),
        sa.Column("sources", BIG, nullable=False),
        sa.Column("final", sa.Boolean, nullable=False),
        sa.Column("frontier", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("configuration", "key", "seconds", "start", name="pk_window_stats"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_window_stats_configuration_seconds_start",
        "window_stats",
        ["configuration", "seconds", "start"],
    )
    op.create_index(
        "ix_window_stats_hours",
        "window_stats",
        ["configuration", "key", "start"],
        postgresql_include=DRAWN,
        postgresql_where=sa.text("seconds = 3600"),
        sqlite_where=sa.text("seconds = 3600"),
    )
    op.create_table(
        "window_days",
        sa.Column("configuration", sa.Text, nullable=False),
        sa.Column("start", UtcDateTime, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        *(sa.Column(name, BIG, nullable=False) for name in DRAWN),
        sa.PrimaryKeyConstraint("configuration", "start", "key", name="pk_window_days"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tags",
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("published_at", UtcDateTime, nullable=False),
        sa.Column("sentiment", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("negative", sa.Float, nullable=False),
        sa.Column("neutral", sa.Float, nullable=False),
        sa.Column("positive", sa.Float, nullable=False),
        sa.Column("topics", JSON, nullable=False),
        sa.Column("abstained", sa.Boolean, nullable=False),
        sa.Column("entities", JSON, nullable=False),
        sa.Column("by_entity", JSON),
        sa.Column("listing", sa.Boolean, nullable=False),
        sa.Column("story", sa.Text),
        sa.Column("repeat", sa.Boolean, nullable=False),
        sa.Column("model", JSON, nullable=False),
        sa.Column("processed_at", UtcDateTime),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name="fk_tags_message_id"),
        sa.PrimaryKeyConstraint("message_id", name="pk_tags"),
    )
    op.create_index("ix_tags_published_at", "tags", ["published_at"])
    op.create_index("ix_tags_story", "tags", ["story"])
    op.create_table(
        "users",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
        sa.UniqueConstraint("subject", name="uq_users_subject"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_name"], ["users.name"], name="fk_sessions_user_name"),
    )
    op.create_index("ix_sessions_user_name", "sessions", ["user_name"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime),
        sa.Column("revoked_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["user_name"], ["users.name"], name="fk_api_keys_user_name"),
    )
    op.create_index("ix_api_keys_user_name", "api_keys", ["user_name"])
    op.create_table(
        "corrections",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("head", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("found", sa.Text, nullable=False),
        sa.Column("corrected_by", sa.Text, nullable=False),
        sa.Column("corrected_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_corrections"),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name="fk_corrections_message_id"),
    )
    op.create_index("ix_corrections_message_id", "corrections", ["message_id"])
    op.create_index("ix_corrections_corrected_at", "corrections", ["corrected_at"])

    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in LEDGER_TRIGGERS_SQLITE if sqlite else LEDGER_TRIGGERS_POSTGRESQL:
        op.execute(statement)
    for statement in _day_triggers_sqlite() if sqlite else _day_triggers_postgresql():
        op.execute(statement)
