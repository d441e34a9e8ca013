"""Every panel draws what it says: its query against the same figure counted from the raw rows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import select

from connectors.store import Store, schema
from pipelines.dashboards import company
from pipelines.dashboards.asking import Scope
from pipelines.dashboards.building import BOARDS, Span, as_json
from pipelines.dashboards.checking import answer, variables
from tests.pipelines.dashboards import raw as counting
from tests.pipelines.dashboards.raw import Raw

Rows = list[tuple[Any, ...]]
Figure = Callable[[Raw], Rows]

MOOD, COMPANY, TOPIC = "foreshock-mood", "foreshock-company", "foreshock-topic"
ALERTS, HEALTH = "foreshock-alerts", "foreshock-health"
KEYS = {MOOD: "overall", COMPANY: "entity:BA", TOPIC: "topic:Legal | Regulation"}
GIVEN = {"company": "BA", "topic": "Legal | Regulation"}
SEVERITIES = ("low", "medium", "high", "critical")

_figures: dict[tuple[str, str, str], Figure] = {}


def figure(title: str, *boards: str, query: str = "A") -> Callable[[Any], Any]:
    """Registers what a panel should show; where it says so for several boards, by their key."""

    def register(function: Any) -> Any:
        for board in boards:
            of_key = len(boards) > 1
            _figures[board, title, query] = (
                (lambda raw, board=board: function(raw, KEYS[board])) if of_key else function
            )
        return function

    return register


def queries() -> list[tuple[str, str, str, str, int]]:
    """Board, panel, letter, SQL and points of every query of the store."""
    return [
        (uid, panel["title"], target["refId"], target["rawSql"], panel.get("maxDataPoints", 400))
        for uid, build in BOARDS.items()
        for panel in as_json(build())["panels"]
        for target in panel["targets"]
        if "rawSql" in target
    ]


@pytest.fixture(scope="module", params=["all", "some weeks", "the day of the surge"])
def scope(request: pytest.FixtureRequest, filled: Store, shown: Span) -> Scope:
    held = variables(as_json(BOARDS[MOOD]()), filled, Scope(*shown, GIVEN)).values
    if request.param == "all":
        return Scope(*shown, held)
    if request.param == "some weeks":  # begun and ended within an hour of a day
        return Scope(shown[1] - timedelta(days=18, hours=7, seconds=500), shown[1], held)
    day = datetime(2014, 4, 5, 12, 3, 20, tzinfo=UTC)
    return Scope(day, day + timedelta(hours=9), held)


@pytest.fixture(scope="module")
def raws(filled: Store, scope: Scope) -> dict[int, Raw]:
    """The raw rows by points of the panel."""
    return {
        points: Raw.of(filled, scope, scope.interval(points))
        for points in {query[4] for query in queries()}
    }


@pytest.mark.parametrize("query", queries(), ids=lambda query: "-".join(query[:3]))
def test_the_panel_draws_what_it_says(
    query: tuple[str, str, str, str, int], filled: Store, scope: Scope, raws: dict[int, Raw]
) -> None:
    board, title, letter, sql, points = query
    found = answer(sql, filled, scope, points).rows
    expected = _figures[board, title, letter](raws[points])
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert [_plain(value) for value in row] == [_near(_plain(value)) for value in wanted]


def test_the_panels_are_tried_on_figures_that_are_there(raws: dict[int, Raw]) -> None:
    raw = raws[400]
    assert all(len(raw.of_key(key, raw.step)) > 5 for key in KEYS.values())
    assert len(raw.table("alerts", "opened_at")) > 0
    assert raw.counted["repeat"].any()
    assert (raw.counted.mood == "unsure").any()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):  # pandas' too
        return value.timestamp() if not pd.isna(value) else None
    return None if value is None or (isinstance(value, float) and pd.isna(value)) else value


def _near(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return pytest.approx(float(value), rel=1e-9, abs=1e-9) if number else value


def test_a_companys_variable_has_the_most_spoken_of_first(
    filled: Store, scope: Scope, raws: dict[int, Raw]
) -> None:
    raw = raws[400]
    found = raw.shown(raw.counted[raw.counted.key.str.startswith("entity:")], raw.whole)
    expected = [name for name, _ in _counts(found.key.str.removeprefix("entity:"))]
    assert [name for (name,) in answer(company.COMPANIES, filled, scope).rows] == expected


@pytest.mark.parametrize("board", KEYS)
def test_alerts_are_marked_where_they_opened(
    board: str, filled: Store, scope: Scope, raws: dict[int, Raw]
) -> None:
    (mark,) = [one for one in as_json(BOARDS[board]())["annotations"]["list"] if "target" in one]
    alerts = raws[400].table("alerts", "opened_at")
    if board != MOOD:
        alerts = alerts[alerts.key == KEYS[board]]
    ended = alerts.resolved_at.fillna(alerts.updated_at)
    expected = sorted(
        (one.opened_at, end, f"{one.key}, {one.kind}", one.severity)
        for one, end in zip(alerts.itertuples(), ended, strict=True)
    )
    assert sorted(answer(mark["target"]["rawSql"], filled, scope).rows) == expected


def test_a_day_is_the_sum_of_its_hours(filled: Store) -> None:
    windows = pd.DataFrame(filled.rows(select(schema.window_stats)))
    hours = windows[windows.seconds == 3600]
    place = ["configuration", hours.start.dt.floor("D").rename("start"), "key"]
    expected = hours.groupby(place)[list(schema.DRAWN)].sum()
    days = pd.DataFrame(filled.rows(select(schema.window_days))).set_index(expected.index.names)
    pd.testing.assert_frame_equal(days.sort_index(), expected, check_dtype=False)


@figure("Messages", MOOD, COMPANY, TOPIC)
def _messages(raw: Raw, key: str) -> Rows:
    return [(len(raw.of_key(key, raw.whole)),)]


@figure("Negative share", MOOD, COMPANY, TOPIC)
def _negative_share(raw: Raw, key: str) -> Rows:
    return [(counting.negative_share(raw.of_key(key, raw.whole)),)]


@figure("Balance", MOOD, COMPANY, TOPIC)
def _balance(raw: Raw, key: str) -> Rows:
    return [(counting.balance(raw.of_key(key, raw.whole)),)]


@figure("Messages by sentiment", MOOD, COMPANY, TOPIC)
def _volume(raw: Raw, key: str) -> Rows:
    rows = [(at, *counting.moods(part)) for at, part in raw.over_time(key)]
    return raw.without_holes(rows, 0)


@figure("Negative share over time", MOOD, COMPANY, TOPIC)
def _shares(raw: Raw, key: str) -> Rows:
    rows = [(at, counting.negative_share(part)) for at, part in raw.over_time(key)]
    return raw.without_holes(rows, None)


@figure("New negative stories, and what is usual", MOOD, COMPANY, TOPIC)
def _usual(raw: Raw, key: str) -> Rows:
    return list(counting.usual(raw, key))


@figure("New negative stories, and what is usual", MOOD, COMPANY, TOPIC, query="B")
def _spikes(raw: Raw, key: str) -> Rows:
    spikes = raw.table("spikes", "window_end")
    spikes = spikes[(spikes.key == key) & spikes.kind.isin(["negative_surge", "slow_drift"])]
    ends = spikes.groupby("window_end")[["observed", "expected"]].max()
    return [(at.timestamp(), row.observed, row.expected) for at, row in ends.iterrows()]


@figure("New stories and repeats", MOOD)
def _stories(raw: Raw) -> Rows:
    rows = [
        (at, int((~part["repeat"]).sum()), int(part["repeat"].sum()))
        for at, part in raw.over_time("overall")
    ]
    return raw.without_holes(rows, 0)


@figure("New negative stories by topic", MOOD)
def _topics(raw: Raw) -> Rows:
    topics = raw.counted[raw.counted.key.str.startswith("topic:")]
    found = raw.shown(topics, raw.step)
    parts = found.groupby([found.bucket // raw.interval * raw.interval, found.key.str[6:]])
    return [(at, topic, int(part.new_negative.sum())) for (at, topic), part in parts]


@figure("Companies that move", MOOD)
def _companies_that_move(raw: Raw) -> Rows:
    return counting.movers(raw, "entity:")


@figure("Topics that move", MOOD)
def _topics_that_move(raw: Raw) -> Rows:
    return counting.movers(raw, "topic:")


def _listed(raw: Raw, key: str | None = None) -> Rows:
    alerts = raw.table("alerts", "opened_at")
    if key is not None:
        alerts = alerts[alerts.key == key]
    alerts = alerts.sort_values(["opened_at", "id"], ascending=[False, True])
    return [
        (
            one.opened_at,
            one.severity,
            one.kind,
            one.state,
            one.key.removeprefix("entity:") if one.key.startswith("entity:") else None,
            one.key.removeprefix("topic:") if one.key.startswith("topic:") else None,
            one.peak_observed,
            one.expected_at_peak,
            one.disposition,
            one.id,
        )
        for one in alerts.itertuples()
    ]


@figure("Alerts", MOOD)
def _alerts(raw: Raw) -> Rows:
    return _listed(raw)


@figure("Alerts of the company", COMPANY)
def _alerts_of_the_company(raw: Raw) -> Rows:
    return _listed(raw, KEYS[COMPANY])


@figure("Alerts of the topic", TOPIC)
def _alerts_of_the_topic(raw: Raw) -> Rows:
    return _listed(raw, KEYS[TOPIC])


@figure("Open alerts", MOOD)
def _open_alerts(raw: Raw) -> Rows:
    return [(int((raw.table("alerts").state == "open").sum()),)]


@figure("Alerts", COMPANY)
def _alerts_counted(raw: Raw) -> Rows:
    return [(len(_listed(raw, KEYS[COMPANY])),)]


def _of_the_company(raw: Raw) -> pd.DataFrame:
    mine = raw.of_key(KEYS[COMPANY], 60)
    joined = raw.table("messages").merge(
        raw.table("tags"), left_on="id", right_on="message_id", suffixes=("", "_tag")
    )
    return joined[joined.id.isin(mine.id)].sort_values(
        ["published_at", "id"], ascending=[False, True]
    )


@figure("Topics", COMPANY)
def _topics_of_the_company(raw: Raw) -> Rows:
    return _counts(_of_the_company(raw).topic_tag)


@figure("Sources", COMPANY)
def _sources(raw: Raw) -> Rows:
    return _counts(_of_the_company(raw).source)


@figure("Latest messages", COMPANY)
def _latest_of_the_company(raw: Raw) -> Rows:
    return [
        (
            one.published_at,
            (one.by_entity or {}).get("BA", {"sentiment": one.sentiment})["sentiment"],
            one.topic_tag,
            one.text,
            one.source,
            one.url,
            one.repeat,
        )
        for one in _of_the_company(raw).head(100).itertuples()
    ]


@figure("Companies in the topic", TOPIC)
def _companies_in_the_topic(raw: Raw) -> Rows:
    tags = raw.table("tags", "published_at")
    tags = tags[(tags.topic == GIVEN["topic"]) & ~tags.listing.astype(bool)]
    pairs = raw.counted[raw.counted.id.isin(tags.message_id) & raw.counted.key.str.startswith("e")]
    rows = [
        (str(key).removeprefix("entity:"), len(part), int((part.mood == "negative").sum()))
        for key, part in pairs.groupby("key")
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:25]


@figure("Latest messages", TOPIC)
def _latest_of_the_topic(raw: Raw) -> Rows:
    tags = raw.table("tags", "published_at")
    tags = tags[tags.topic == GIVEN["topic"]]
    found = tags.merge(raw.table("messages"), left_on="message_id", right_on="id")
    found = found.sort_values(["published_at_x", "id"], ascending=[False, True]).head(100)
    return [
        (one.published_at_x, one.sentiment, one.text, one.source, one.url, one.repeat)
        for one in found.itertuples()
    ]


def _counts(values: "pd.Series[str]") -> Rows:
    counts = values.value_counts()
    return sorted(((str(name), int(n)) for name, n in counts.items()), key=lambda r: (-r[1], r[0]))


def _answered(raw: Raw, time: str | None = "opened_at") -> pd.DataFrame:
    """Alerts with when they were raised and how many seconds they waited."""
    events = raw.table("alert_events")
    raised = events[events.event == "opened"].groupby("alert_id").recorded_at.min()
    alerts = raw.table("alerts", time)
    alerts = alerts.assign(raised=alerts.id.map(raised))
    waited = pd.to_datetime(alerts.acknowledged_at, utc=True) - alerts.raised
    return alerts.assign(waited=waited.dt.total_seconds())


@figure("Open", ALERTS)
def _open(raw: Raw) -> Rows:
    return _open_alerts(raw)


def _unanswered(raw: Raw) -> pd.DataFrame:
    alerts = _answered(raw, None)
    return alerts[(alerts.state == "open") & alerts.acknowledged_at.isna()]


@figure("Not acknowledged", ALERTS)
def _not_acknowledged(raw: Raw) -> Rows:
    return [(len(_unanswered(raw)),)]


class _Lately:
    """A number of seconds that has grown a little since it was counted."""

    def __init__(self, since: datetime) -> None:
        self._since = since

    def __eq__(self, other: object) -> bool:
        age = (datetime.now(UTC) - self._since).total_seconds()
        return isinstance(other, float) and age - 600 < other <= age + 1


@figure("Oldest not acknowledged", ALERTS)
def _oldest(raw: Raw) -> Rows:
    waiting = _unanswered(raw)
    return [(_Lately(waiting.raised.min()) if len(waiting) else None,)]


@figure("Time to acknowledge", ALERTS)
def _time_to_acknowledge(raw: Raw) -> Rows:
    return [(_answered(raw).waited.median(),)]


def _false(alerts: pd.DataFrame) -> float | None:
    disposed = alerts.disposition.dropna()
    return float((disposed == "false-alarm").mean()) if len(disposed) else None


@figure("False alarms", ALERTS)
def _false_alarms(raw: Raw) -> Rows:
    return [(_false(raw.table("alerts", "opened_at")),)]


def _by_severity(alerts: pd.DataFrame) -> list[int]:
    return [int((alerts.severity == severity).sum()) for severity in SEVERITIES]


@figure("Open by age and severity", ALERTS)
def _by_age(raw: Raw) -> Rows:
    """All were raised by this test's replay: within the hour."""
    still = raw.table("alerts")
    still = still[still.state == "open"]
    return [("1: up to an hour", *_by_severity(still))] if len(still) else []


@figure("Opened by severity", ALERTS)
def _opened(raw: Raw) -> Rows:
    alerts = raw.table("alerts", "opened_at")
    bucket = alerts.opened_at.map(lambda at: at.timestamp()) // raw.interval * raw.interval
    rows = [(at, *_by_severity(part)) for at, part in alerts.groupby(bucket)]
    return raw.without_holes(rows, 0)


@figure("To do", ALERTS)
def _to_do(raw: Raw) -> Rows:
    alerts = _answered(raw, None)
    alerts = alerts[alerts.state == "open"]
    alerts = alerts.assign(rank=[-SEVERITIES.index(one) for one in alerts.severity])
    return [
        (
            one.severity,
            one.opened_at,
            one.raised,
            one.key.removeprefix("entity:") if one.key.startswith("entity:") else None,
            one.key.removeprefix("topic:") if one.key.startswith("topic:") else None,
            one.kind,
            one.acknowledged_by,
            one.assigned_to,
            one.snoozed_until,
            one.id,
        )
        for one in alerts.sort_values(["rank", "opened_at", "id"]).itertuples()
    ]


@figure("Dispositions", ALERTS)
def _dispositions(raw: Raw) -> Rows:
    return _counts(raw.table("alerts", "opened_at").disposition.fillna("not yet"))


@figure("Answers by kind", ALERTS)
def _answers(raw: Raw) -> Rows:
    return [
        (
            *kind,
            len(part),
            int(part.waited.notna().sum()),
            part.waited.median(),
            part.waited.quantile(0.9),
            int(part.disposition.notna().sum()),
            _false(part),
        )
        for kind, part in _answered(raw).groupby(["kind", "severity"])
    ]


@figure("Ledger", ALERTS)
def _ledger(raw: Raw) -> Rows:
    key = raw.table("alerts").set_index("id").key
    events = raw.table("alert_events", "occurred_at").sort_values("sequence", ascending=False)
    return [
        (
            one.sequence,
            one.recorded_at,
            one.occurred_at,
            one.event,
            one.actor,
            key[one.alert_id],
            one.alert_id,
        )
        for one in events.head(100).itertuples()
    ]


@figure("Deliveries", ALERTS)
def _deliveries(raw: Raw) -> Rows:
    recent = raw.table("alerts", "opened_at").id
    made = raw.table("deliveries")
    made = made[made.alert_id.isin(recent)]
    return [
        (*of, len(part), int(part.attempts.sum()))
        for of, part in made.groupby(["channel", "state"])
    ]


@figure("Messages in windows", HEALTH)
def _in_windows(raw: Raw) -> Rows:
    """A replay's are final."""
    return raw.without_holes([(at, len(part), 0) for at, part in raw.over_time("overall")], 0)


@figure("Dead letters in the store", HEALTH)
def _dead_letters(raw: Raw) -> Rows:
    rows = [
        (stage, reason, len(part), int(part.retried_at.notna().sum()), part.recorded_at.max())
        for (stage, reason), part in raw.table("dead_letters").groupby(["stage", "reason"])
    ]
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))


@figure("Late messages in the store", HEALTH)
def _late(raw: Raw) -> Rows:
    rows = [
        (reason, len(part), part.published_at.max())
        for reason, part in raw.table("late_messages").groupby("reason")
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


@figure("Runs", HEALTH)
def _runs(raw: Raw) -> Rows:
    runs = raw.table("runs").sort_values(["started_at", "id"], ascending=[False, True])
    return [
        (one.started_at, one.finished_at, one.kind, one.state, one.error, one.id)
        for one in runs.itertuples()
    ]
