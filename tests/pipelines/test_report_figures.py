"""The report's charts and the sums behind them."""

from datetime import timedelta

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report import figures
from pipelines.report.content import sliding
from pipelines.report.queries import Bucket, Period
from tests.pipelines.report_rows import START

HOUR = timedelta(hours=1)


def bucket(hour: int, negative: int, neutral: int = 0, positive: int = 0) -> Bucket:
    return Bucket(
        key="overall",
        start=START + hour * HOUR,
        messages=negative + neutral + positive + 1,
        negative=negative,
        neutral=neutral,
        positive=positive,
        abstained=1,
        stories=negative,
        new_negative=negative,
    )


@pytest.mark.parametrize(
    ("days", "hours"), [(2, 1), (14, 3), (147, 24), (3 * 365, 7 * 24), (40 * 365, 28 * 24)]
)
def test_a_longer_period_has_wider_buckets(days: int, hours: int) -> None:
    span = Period(START, START + timedelta(days=days))
    assert figures.bucket_seconds(span, 190) == hours * 3600


def test_mood_is_positive_less_negative_and_says_nothing_of_a_handful() -> None:
    assert figures.net_mood(bucket(0, 6, 2, 2)) == pytest.approx(-0.4)
    assert figures.negative_share(bucket(0, 6, 2, 2)) == pytest.approx(0.6)
    assert figures.net_mood(bucket(0, 4)) is None
    assert figures.negative_share(bucket(0, 4)) is None


def test_every_chart_is_valid_plotly() -> None:
    buckets = [bucket(0, 6, 2, 2), bucket(3, 1, 0, 9)]
    points = [(START, 1.0), (START + HOUR, 2.5)]
    for figure in (
        figures.mood(buckets, 3600, [(START, "Negative surge on Amazon")]),
        figures.mood([], 3600, []),
        figures.topics({"topic:A": buckets, "topic:B": []}, 3600, {"topic:A": "A", "topic:B": "B"}),
        figures.surge(points, points[:1], counted="new stories", opened=START, closed=START + HOUR),
        figures.earlier_days(points, (START + 24 * HOUR, 9.0)),
    ):
        go.Figure(figure)


def test_the_stacked_bars_add_up_to_all_messages() -> None:
    buckets = [bucket(0, 6, 2, 2), bucket(3, 1, 0, 9)]
    bars = [
        trace["y"] for trace in figures.mood(buckets, 3600, [])["data"] if trace["type"] == "bar"
    ]
    assert [sum(parts) for parts in zip(*bars, strict=True)] == [one.messages for one in buckets]


def test_every_colour_of_a_chart_has_a_counterpart_in_the_dark() -> None:
    assert figures.LIGHT.keys() == figures.DARK.keys()
    assert len(set(figures.LIGHT.values())) == len(figures.LIGHT)


@pytest.mark.parametrize("theme", [figures.LIGHT, figures.DARK])
def test_text_stands_out_from_what_it_stands_on(theme: dict[str, str]) -> None:
    for ink in ("ink", "muted", "negative", "positive"):
        for ground in ("paper", "card"):
            assert _contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@given(
    st.dictionaries(st.integers(0, 300), st.integers(1, 9), max_size=40),
    st.integers(1, 90),
)
def test_a_sliding_sum_is_that_of_the_minutes_in_the_window(
    counts: dict[int, int], width: int
) -> None:
    minute = timedelta(minutes=1)
    span = Period(START + 100 * minute, START + 250 * minute)
    minutes = sorted((START + at * minute, float(count)) for at, count in counts.items())
    for moment, value in sliding(minutes, width * 60, span):
        inside = sum(count for at, count in minutes if moment - width * minute <= at < moment)
        if span.start < moment < span.end:
            assert value == inside
        assert span.start <= moment <= span.end


def test_a_long_series_is_thinned_but_keeps_its_peak() -> None:
    minutes = [(START + timedelta(minutes=3 * at), 1.0) for at in range(3000)]
    minutes.append((START + timedelta(minutes=4001), 50.0))
    span = Period(START, START + timedelta(minutes=9100))
    found = sliding(sorted(minutes), 60, span)
    assert len(found) < 1000
    assert max(value for _, value in found) == 50.0


def test_a_sparkline_stays_inside_its_box() -> None:
    points = [point.split(",") for point in figures.sparkline([0, 4, 2]).split()]
    assert [(float(x), float(y)) for x, y in points] == [(0, 26), (70, 2), (140, 14)]
    assert figures.sparkline([]) == ""
