"""Gathers what the page says: rows of the store made into words, charts and tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection

from pipelines.report import figures, inert, queries, wording
from pipelines.report.figures import Figure
from pipelines.report.queries import HOUR, Bucket, Change, Evidence, Period

_AS_RECORDED = (
    "id",
    "source",
    "title",
    "text",
    "url",
    "sentiment",
    "negative",
    "neutral",
    "positive",
    "abstained",
    "repeat",
)

Explain = Callable[[str, str], Sequence[tuple[int, int, str, float]]]

_COUNTS = {"unsure": "abstained"}
"""Where a count has another name than its colour."""

ALERTS_IN_FULL = 50
MESSAGES_AN_ALERT = 10
COMPANIES = 20
WORST_HOURS = 10
_MOST_POINTS = 800
_MOST_TOPICS = 20
_MOST_BARS = 190
_MOST_COLUMNS = 60
_DAYS_BEFORE = 10
_LONGEST_RECENT = 7 * 24 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns and rows of text; the first cell of a row names it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure, what it shows in one sentence, and its numbers for those who cannot see it."""

    id: str
    figure: Figure
    description: str
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """One message of the evidence."""

    id: str
    source: str
    published: str
    title: str
    pieces: Sequence[inert.Piece]
    left_out: int
    url: str | None
    host: str
    sentiment: str
    shares: Sequence[tuple[str, float]]
    unsure: bool
    repeat: bool
    copies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """One alert in words; the fields after `listed` are empty where it is only listed."""

    anchor: str
    title: str
    severity: str
    state: str
    sentence: str
    times: Sequence[tuple[str, str]]
    listed: bool = False
    chance: str = ""
    facts: Sequence[tuple[str, str, str]] = ()
    sentiments: Sequence[tuple[str, int]] = ()
    charts: Sequence[tuple[str, Chart]] = ()
    messages: Sequence[MessageView] = ()
    decisions: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyView:
    """One row of the companies table; numbers beside their words, to sort by."""

    name: str
    key: str
    cells: Sequence[tuple[float, str]]
    spark: str
    spark_since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """All that the template shows."""

    headline: str
    standfirst: str
    totals: Sequence[tuple[str, str]] = ()
    watched: Sequence[str] = ()
    reconciliation: str | None = None
    reconciled: bool = True
    provisional: str | None = None
    identity: Sequence[tuple[str, str]] = ()
    mood: Chart | None = None
    topics: Chart | None = None
    companies: Sequence[CompanyView] = ()
    companies_since: str = ""
    worst_hours: Table | None = None
    alerts: Sequence[AlertView] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What a page is read from: one configuration of the store, within `span`."""

    connection: Connection
    configuration: str
    explain: Explain | None
    display_name: Callable[[str], str]
    span: Period


Row = Mapping[str, Any]
"""An alert as stored; its `evidence` is a record made when it was raised."""


def gather(
    connection: Connection,
    *,
    configuration: str,
    run: Mapping[str, Any],
    explain: Explain | None,
    display_name: Callable[[str], str],
) -> Content:
    """What the page says of one configuration; an empty store has an answer too."""
    span = queries.period(connection, configuration)
    manifest, counters = run.get("manifest") or {}, run.get("counters") or {}
    balance, balanced = _reconciliation(counters)
    identity = _identity(manifest, configuration)
    if span is None:
        return Content(
            headline="Nothing to report",
            standfirst="No message was counted under this configuration, so there is no mood to"
            " show and nothing that could raise an alert.",
            watched=_watched(manifest, []),
            reconciliation=balance,
            reconciled=balanced,
            identity=identity,
        )
    reader = Reader(
        connection=connection,
        configuration=configuration,
        explain=explain,
        display_name=display_name,
        span=span,
    )
    step = figures.bucket_seconds(span, _MOST_BARS)
    overall = queries.buckets(connection, configuration, ["overall"], step)["overall"]
    rows = queries.alerts(connection, configuration)
    views = _alerts(reader, rows)
    mood = mood_chart(reader, overall, step, rows)
    topics = topics_chart(reader, queries.keys(connection, configuration, "topic:")[:_MOST_TOPICS])
    since, companies = companies_by_change(reader, step)
    charts = [mood, *([topics] if topics else []), *(chart for v in views for _, chart in v.charts)]
    provisional = queries.provisional_hours(connection, configuration)
    return Content(
        headline=_headline(reader, rows),
        standfirst=_standfirst(reader, rows),
        totals=_totals(reader, overall),
        watched=_watched(manifest, queries.sources(connection, span)),
        reconciliation=balance,
        reconciled=balanced,
        provisional=wording.plural(provisional, "hour") if provisional else None,
        identity=identity,
        mood=mood,
        topics=topics,
        companies=companies,
        companies_since=since,
        worst_hours=_worst_hours(reader),
        alerts=views,
        figures={chart.id: chart.figure for chart in charts},
    )


def safe_url(url: str | None) -> str | None:
    """The address when a reader may follow it: http or https, a host, no name before it."""
    if not url or any(character.isspace() or not character.isprintable() for character in url):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and host and "@" not in parts.netloc else None


def sliding(
    minutes: Sequence[tuple[datetime, float]], window: int, span: Period
) -> list[tuple[datetime, float]]:
    """Sum over the `window` seconds before each moment at which that sum changes, within `span`.

    `minutes` holds (start of the minute, count). At most a few hundred moments are kept, the
    highest among them.
    """
    steps: dict[datetime, float] = {}
    for start, count in minutes:
        enters = start + timedelta(minutes=1)
        for moment, change in ((enters, count), (enters + timedelta(seconds=window), -count)):
            steps[moment] = steps.get(moment, 0) + change
    moments = sorted(steps)
    running = (round(value, 6) for value in accumulate(steps[moment] for moment in moments))
    sums = list(zip(moments, running, strict=True))
    before = [value for moment, value in sums if moment <= span.start]
    inside = [(moment, value) for moment, value in sums if span.start < moment < span.end]
    if len(inside) > _MOST_POINTS:
        highest = max(inside, key=lambda point: point[1])
        inside = sorted({*inside[:: len(inside) // _MOST_POINTS + 1], highest})
    first = (span.start, before[-1] if before else 0.0)
    return [first, *inside, (span.end, inside[-1][1] if inside else first[1])]


def _headline(reader: Reader, rows: Sequence[Row]) -> str:
    if not rows:
        return "No alert"
    title = _title(reader, _strongest(rows))
    title = title[0].lower() + title[1:]
    if len(rows) == 1:
        return f"1 alert: {title}"
    return f"{len(rows):,} alerts, the strongest: {title}"


def _standfirst(reader: Reader, rows: Sequence[Row]) -> str:
    if not rows:
        return (
            "Nothing watched rose beyond what is normal for it between"
            f" {wording.day(reader.span.start)} and {wording.day(_last(reader.span))}."
        )
    row = _strongest(rows)
    told = wording.against(row, row["evidence"].get("scale_seconds"))
    return f"{wording.time(row['opened_at'])}: {told}."


def _strongest(rows: Sequence[Row]) -> Row:
    return max(rows, key=wording.weight)


def _title(reader: Reader, row: Row) -> str:
    return inert.visible(wording.title(row, reader.display_name(row["key"])))


def _totals(reader: Reader, overall: Sequence[Bucket]) -> list[tuple[str, str]]:
    messages = sum(bucket.messages for bucket in overall)
    negative = sum(bucket.negative for bucket in overall)
    sure = messages - sum(bucket.abstained for bucket in overall)
    companies = len(queries.keys(reader.connection, reader.configuration, "entity:"))
    return [
        ("Period", f"{wording.day(reader.span.start)} – {wording.day(_last(reader.span))}"),
        ("Messages", wording.number(messages)),
        ("Distinct stories", wording.number(sum(bucket.stories for bucket in overall))),
        ("Companies", wording.number(companies)),
        ("Negative share", wording.percent(negative / sure if sure else None)),
    ]


def _last(span: Period) -> datetime:
    return span.end - timedelta(seconds=1)


def _watched(manifest: Mapping[str, Any], stored: Sequence[tuple[str, int]]) -> list[str]:
    names = [source["name"] for source in manifest.get("sources", ())]
    return [inert.visible(str(name)) for name in names or [name for name, _ in stored]]


def _reconciliation(counters: Mapping[str, Any]) -> tuple[str | None, bool]:
    if "read" not in counters:
        return None, True
    parts = [int(counters.get(name, 0)) for name in ("stored", "duplicates", "dead_letters")]
    read, rest = int(counters["read"]), int(counters["read"]) - sum(parts)
    told = (
        f"{wording.number(read)} read = {wording.number(parts[0])} stored"
        f" + {wording.plural(parts[1], 'duplicate')} + {wording.plural(parts[2], 'dead letter')}"
    )
    return (told, True) if rest == 0 else (f"{told}, and {rest:+,} unaccounted for", False)


def _identity(manifest: Mapping[str, Any], configuration: str) -> list[tuple[str, str]]:
    model = manifest.get("model", {})
    facts = [
        ("Foreshock", manifest.get("code")),
        ("Configuration", configuration),
        ("Model", " ".join(filter(None, (model.get("name"), model.get("version"))))),
        ("Weights", model.get("checksum")),
        ("Arithmetic", model.get("numeric_path")),
    ]
    facts += [
        ("Source", f"{source['name']}, SHA-256 {source['sha256']}")
        for source in manifest.get("sources", ())
        if "sha256" in source
    ]
    return [(label, inert.visible(str(value))) for label, value in facts if value]


def mood_chart(reader: Reader, overall: Sequence[Bucket], step: int, rows: Sequence[Row]) -> Chart:
    """Mood and volume of one key, whose `overall` buckets are of `step` seconds; alerts marked."""
    marks = [(row["opened_at"], _title(reader, row)) for row in rows]
    return Chart(
        id="mood",
        figure=figures.mood(overall, step, marks),
        description="Net mood over time as a line above messages by sentiment as stacked bars,"
        f" one bar for each {_step_name(step)}; diamonds mark the opening of alerts.",
        table=Table(
            columns=("From (UTC)", "Negative", "Neutral", "Positive", "Model unsure", "Net mood"),
            rows=[
                (
                    wording.time(bucket.start),
                    *map(wording.number, _by_sentiment(bucket)),
                    "–" if (mood := figures.net_mood(bucket)) is None else f"{mood:+.2f}",
                )
                for bucket in overall
            ],
        ),
    )


def _step_name(step: int) -> str:
    return {HOUR: "hour", 24 * HOUR: "day", 7 * 24 * HOUR: "week"}.get(step, wording.duration(step))


def _by_sentiment(bucket: Bucket) -> tuple[int, int, int, int]:
    return bucket.negative, bucket.neutral, bucket.positive, bucket.abstained


def topics_chart(reader: Reader, keys: Sequence[str]) -> Chart | None:
    """The negative share of these keys through time; None where too little was written."""
    step = figures.bucket_seconds(reader.span, _MOST_COLUMNS)
    found = queries.buckets(reader.connection, reader.configuration, keys, step, reader.span)
    written = {key: sum(bucket.messages for bucket in row) for key, row in found.items() if row}
    keys = sorted(written, key=lambda key: (-written[key], key))
    rows = {key: found[key] for key in keys}
    if all(figures.negative_share(bucket) is None for row in rows.values() for bucket in row):
        return None
    names = {key: inert.visible(reader.display_name(key)) for key in keys}
    return Chart(
        id="topics",
        figure=figures.topics(rows, step, names),
        description="Share of negative messages by topic and time as a heat map, the topic with"
        " most messages on top; empty where there were fewer than five.",
        table=Table(
            columns=("Topic", "Messages", "Negative", "Neutral", "Positive", "Negative share"),
            rows=[_topic_row(names[key], rows[key]) for key in keys],
        ),
    )


def _topic_row(name: str, row: Sequence[Bucket]) -> Sequence[str]:
    negative, neutral, positive, _ = map(sum, zip(*map(_by_sentiment, row), strict=True))
    sure = negative + neutral + positive
    return (
        name,
        *map(wording.number, (sum(b.messages for b in row), negative, neutral, positive)),
        wording.percent(negative / sure if sure else None),
    )


def companies_by_change(reader: Reader, step: int) -> tuple[str, list[CompanyView]]:
    """Since when, and the companies furthest above their earlier pace since then."""
    recent = min(_LONGEST_RECENT, max(HOUR, reader.span.seconds // 4 // HOUR * HOUR))
    moment = reader.span.end - timedelta(seconds=recent)
    scale = recent / max(HOUR, reader.span.seconds - recent)
    found = queries.changes(reader.connection, reader.configuration, "entity:", moment, reader.span)
    found.sort(key=lambda change: (-_surprise(change, scale), -change.messages_since, change.key))
    chosen = found[:COMPANIES]
    chosen_keys = [change.key for change in chosen]
    series = queries.buckets(
        reader.connection, reader.configuration, chosen_keys, step, reader.span
    )
    since = f"the last {wording.duration(recent)} (from {wording.time(moment)})"
    share = 1 - recent / reader.span.seconds
    return since, [
        _company(reader, change, scale, _filled(series[change.key], reader.span, step), share)
        for change in chosen
    ]


def _surprise(change: Change, scale: float) -> float:
    """How far the recent count lies above the earlier pace, in standard deviations or so."""
    expected = change.new_negative_before * scale
    return float((change.new_negative_since - expected) / (expected + 1) ** 0.5)


def _company(
    reader: Reader, change: Change, scale: float, counts: Sequence[int], share: float
) -> CompanyView:
    pace = change.new_negative_before * scale
    ratio = change.new_negative_since / pace if pace >= 0.5 else None
    before = _share(change.negative_before, change.messages_before - change.abstained_before)
    since = _share(change.negative_since, change.messages_since - change.abstained_since)
    return CompanyView(
        name=inert.visible(reader.display_name(change.key)),
        key=inert.visible(change.key.partition(":")[2]),
        cells=(
            (change.messages_since, wording.number(change.messages_since)),
            (change.new_negative_since, wording.number(change.new_negative_since)),
            (pace, f"{pace:.1f}"),
            (ratio or -1, f"×{ratio:.1f}" if ratio is not None else "–"),
            (before if before is not None else -1, wording.percent(before)),
            (since if since is not None else -1, wording.percent(since)),
        ),
        spark=figures.sparkline(counts),
        spark_since=share,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _filled(row: Sequence[Bucket], span: Period, step: int) -> list[int]:
    counts = [0] * (span.seconds // step + 1)
    for bucket in row:
        index = int((bucket.start - span.start).total_seconds() // step)
        counts[min(max(index, 0), len(counts) - 1)] += bucket.new_negative
    return counts


def _worst_hours(reader: Reader) -> Table | None:
    rows = queries.worst_hours(reader.connection, reader.configuration, "entity:", WORST_HOURS)
    if not rows:
        return None
    return Table(
        columns=("Company", "Hour from (UTC)", "New negative stories", "All messages"),
        rows=[
            (
                inert.visible(reader.display_name(key)),
                wording.time(start),
                wording.number(negative),
                wording.number(messages),
            )
            for key, start, negative, messages in rows
        ],
    )


def _alerts(reader: Reader, rows: Sequence[Row]) -> list[AlertView]:
    ranked = sorted(rows, key=wording.weight, reverse=True)
    full = {row["id"] for row in ranked[:ALERTS_IN_FULL]}
    return [
        alert_in_full(reader, number, row)
        if row["id"] in full
        else AlertView(listed=True, **_brief(reader, number, row))
        for number, row in enumerate(rows, 1)
    ]


def _brief(reader: Reader, number: int, row: Row) -> dict[str, Any]:
    times = [("Opened", row["opened_at"]), ("Updated", row["updated_at"])]
    if row["resolved_at"]:
        times.append(("Resolved", row["resolved_at"]))
    return {
        "anchor": f"alert-{number}",
        "title": _title(reader, row),
        "severity": row["severity"],
        "state": row["state"],
        "sentence": wording.against(row, row["evidence"].get("scale_seconds")),
        "times": [(label, wording.time(moment)) for label, moment in times],
    }


def _evidence(reader: Reader, row: Row) -> list[Evidence]:
    """The messages as the alert recorded them, else as they are stored."""
    recorded = row["evidence"].get("messages")
    if recorded is None:
        ids = row["evidence"].get("message_ids", ())[:MESSAGES_AN_ALERT]
        return queries.evidence(reader.connection, ids)
    return [
        Evidence(
            **{name: message.get(name) for name in _AS_RECORDED},
            published_at=datetime.fromisoformat(message["published_at"]),
            copies=message.get("repeats", 0),
            words=[(start, end, weight) for start, end, weight in message.get("words", ())],
        )
        for message in recorded[:MESSAGES_AN_ALERT]
    ]


def message_view(found: Evidence, explain: Explain | None = None) -> MessageView:
    """One message in words, its weightiest words marked where somebody weighed them."""
    words = found.words
    if words is None and explain and found.text.strip():
        explained = explain(found.text, found.sentiment)
        words = [(start, end, weight) for start, end, _, weight in explained]
    url = safe_url(found.url)
    return MessageView(
        id=inert.visible(found.id),
        source=inert.visible(found.source),
        published=wording.time(found.published_at),
        title=inert.visible((found.title or "")[: inert.MAX_CHARACTERS]),
        pieces=inert.pieces(found.text, words or ()),
        left_out=max(0, len(found.text) - inert.MAX_CHARACTERS),
        url=url,
        host=inert.visible(urlsplit(url).hostname or "") if url else "",
        sentiment=found.sentiment,
        shares=[
            ("negative", found.negative),
            ("neutral", found.neutral),
            ("positive", found.positive),
        ],
        unsure=found.abstained,
        repeat=found.repeat,
        copies=found.copies,
    )


def alert_in_full(reader: Reader, number: int, row: Row) -> AlertView:
    """All that a page says of one alert, the `number`th on it."""
    evidence = row["evidence"]
    counts = evidence.get("counts", {})
    tail = evidence.get("log10_tail")
    charts = (_surge(reader, number, row), _earlier(reader, number, row))
    return AlertView(
        **_brief(reader, number, row),
        chance="" if tail is None else wording.chance(tail),
        facts=_facts(evidence, counts),
        sentiments=[
            (label, int(counts.get(_COUNTS.get(name, name), 0)))
            for name, label in figures.SENTIMENT_NAMES.items()
        ],
        charts=[chart for chart in charts if chart],
        messages=[message_view(found, reader.explain) for found in _evidence(reader, row)],
        decisions=_decisions(row),
    )


def _facts(evidence: Mapping[str, Any], counts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what, value, remark) of one alert's window at its peak."""
    stories, repeats = evidence.get("stories", 0), counts.get("repeats", 0)
    weeks = evidence.get("same_hour_on_earlier_weeks")
    facts = [
        (
            "Negative share",
            wording.percent(evidence.get("negative_share")),
            f"usually {wording.percent(evidence.get('expected_negative_share'))}",
        ),
        ("Distinct stories", wording.number(stories), ""),
        (
            "Repeats of stories",
            wording.number(repeats),
            f"{wording.number(counts.get('repeats_negative', 0))} negative",
        ),
        ("Sources", wording.number(evidence.get("sources", 0)), ""),
    ]
    if weeks:
        facts.append(("This hour in earlier weeks", ", ".join(map(wording.number, weeks)), ""))
    return facts


def _window(row: Row) -> int:
    return int(row["evidence"].get("scale_seconds", HOUR))


def _surge(reader: Reader, number: int, row: Row) -> tuple[str, Chart]:
    window = _window(row)
    opened, closed = row["opened_at"], row["resolved_at"] or row["updated_at"]
    around = timedelta(seconds=max(12 * HOUR, 6 * window))
    span = Period(
        max(reader.span.start, opened - around), min(reader.span.end, closed + around / 2)
    )
    counted = wording.counted(row["kind"])
    minutes = queries.minutes(
        reader.connection,
        reader.configuration,
        row["key"],
        row["kind"],
        Period(span.start - timedelta(seconds=window), span.end),
    )
    observed = sliding(minutes, window, span)
    spikes = queries.spikes(reader.connection, reader.configuration, row)
    expected = [(spike["window_end"], spike["expected"]) for spike in spikes]
    return (
        f"{counted.capitalize()} in the last {wording.duration(window)}",
        Chart(
            id=f"surge-{number}",
            figure=figures.surge(observed, expected, counted=counted, opened=opened, closed=closed),
            description=f"{counted.capitalize()} in a sliding window of"
            f" {wording.duration(window)} as a line that rises to"
            f" {wording.number(row['peak_observed'])}; expected were"
            f" {wording.number(row['expected_at_peak'])}, a dashed line; the alert's span is"
            " shaded.",
            table=Table(
                columns=("Window ending (UTC)", "Observed", "Expected"),
                rows=[
                    (
                        wording.time(spike["window_end"]),
                        wording.number(spike["observed"]),
                        wording.number(spike["expected"]),
                    )
                    for spike in spikes[:: len(spikes) // 40 + 1]
                ],
            ),
        ),
    )


def _earlier(reader: Reader, number: int, row: Row) -> tuple[str, Chart] | None:
    window = _window(row)
    peak = row["evidence"].get("window_end")
    end = datetime.fromisoformat(peak) if peak else row["opened_at"]
    if window > 24 * HOUR:
        return None
    spans = [
        Period(end - timedelta(days=back, seconds=window), end - timedelta(days=back))
        for back in range(_DAYS_BEFORE, -1, -1)
    ]
    days = [
        (
            span.end,
            queries.total(reader.connection, reader.configuration, row["key"], row["kind"], span),
        )
        for span in spans
        if span.start >= reader.span.start
    ]
    if len(days) < 2:
        return None
    at = f"{spans[-1].start:%H:%M} to {end:%H:%M} UTC"
    return (
        f"The same time on earlier days, {at}",
        Chart(
            id=f"earlier-{number}",
            figure=figures.earlier_days(days[:-1], days[-1]),
            description=f"{wording.counted(row['kind']).capitalize()} from {at}, day by day, the"
            " day of the alert last.",
            table=Table(
                columns=("Day", wording.counted(row["kind"]).capitalize()),
                rows=[(wording.day(day), wording.number(count)) for day, count in days],
            ),
        ),
    )


def _decisions(row: Row) -> list[str]:
    answer = []
    if row["acknowledged_at"]:
        answer.append(
            f"Acknowledged by {row['acknowledged_by']}, {wording.time(row['acknowledged_at'])}"
        )
    if row["closed_at"]:
        answer.append(f"Resolved by {row['closed_by']}, {wording.time(row['closed_at'])}")
    if row["disposition"]:
        answer.append(f"Disposition: {row['disposition']}. {row['disposition_reason'] or ''}")
    return [inert.visible(text.strip()) for text in answer]
