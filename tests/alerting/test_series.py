import csv
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from alerting.detectors.series import (
    Scored,
    SeriesDetector,
    SeriesSettings,
    score_csv,
    score_series,
)
from alerting.errors import ConfigurationError, SeriesError, StateError

START = datetime(2024, 1, 1, tzinfo=UTC)
Rows = list[tuple[str, str]]


def series(days: int, base: float, seed: int = 1, minutes: int = 5) -> Rows:
    """Counts with a season of the day and scatter, `base` a row on average."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(days * 1440 // minutes):
        season = 1 + 0.5 * np.sin(2 * np.pi * index * minutes / 1440)
        value = rng.poisson(base * season * rng.gamma(20, 1 / 20))
        at = START + timedelta(minutes=minutes * index)
        rows.append((at.strftime("%Y-%m-%d %H:%M:%S"), str(value)))
    return rows


def raised(rows: Rows, first: int, last: int, factor: float) -> Rows:
    return [
        (at, str(int(float(value) * factor)) if first <= index < last else value)
        for index, (at, value) in enumerate(rows)
    ]


@cache
def scored(base: float = 40.0) -> list[Scored]:
    return list(score_series(raised(series(14, base), 2880, 2886, 8.0)))


def alerts(rows: list[Scored]) -> list[int]:
    return [index for index, row in enumerate(rows) if row.alert]


def test_every_row_read_gets_a_row():
    assert [(row.timestamp, row.value) for row in scored()] == raised(
        series(14, 40.0), 2880, 2886, 8.0
    )


@pytest.mark.parametrize("base", [40.0, 3.0, 2000.0])
def test_a_burst_opens_at_once_and_quiet_days_do_not(base):
    opened = alerts(scored(base))
    assert 2880 in opened or 2881 in opened
    assert len([index for index in opened if not 2880 <= index < 2898]) <= 2


def test_a_burst_in_a_sparse_series_is_found():
    rows = series(14, 0.05)
    burst = [(at, "4" if 3000 <= i < 3006 else v) for i, (at, v) in enumerate(rows)]
    opened = alerts(list(score_series(burst)))
    assert any(3000 <= index < 3012 for index in opened)
    assert len(opened) <= 4


def test_an_alert_is_its_opening_row_and_no_state_that_stays_on():
    long = list(score_series(raised(series(14, 40.0), 2880, 3168, 6.0)))
    assert 1 <= len([index for index in alerts(long) if 2880 <= index < 3168]) <= 6


def test_score_is_above_a_half_only_where_an_alert_opens():
    for row in scored():
        assert 0 <= row.score <= 1
        assert (row.score > 0.5) == bool(row.alert)


def test_a_level_shift_is_told_and_then_learnt():
    shifted = list(score_series(raised(series(28, 40.0), 2880, 99999, 4.0)))
    opened = alerts(shifted)
    assert any(2880 <= index < 2890 for index in opened)
    assert len([index for index in opened if index > 2880 + 5 * 288]) <= 2
    assert shifted[-1].expected == pytest.approx(4 * 40 * 1.0, rel=0.25)


def test_expectation_follows_the_hour_of_the_day():
    rows = scored()
    assert rows[10 * 288 + 72].expected > 2 * rows[10 * 288 + 216].expected


@pytest.mark.parametrize("cut", [20, 777, 2883])
def test_a_cut_series_gives_the_same_rows_up_to_the_cut(cut):
    assert list(score_series(raised(series(14, 40.0), 2880, 2886, 8.0)[:cut])) == scored()[:cut]


def test_scoring_needs_no_row_after_the_setup_rows():
    def rows():
        yield from series(1, 40.0)[:40]
        raise AssertionError("read ahead")

    stream = score_series(rows())
    assert [next(stream).timestamp for _ in range(40)] == [at for at, _ in series(1, 40.0)[:40]]


def test_state_through_bytes_at_any_row_gives_the_same_scores():
    detector = SeriesDetector(300.0)
    plain, stored = detector.initial(), detector.initial()
    for index, (at, value) in enumerate(series(3, 40.0)):
        when = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
        if index % 7 == 0:
            stored = detector.decode(detector.encode(stored))
        assert detector.step(plain, when, float(value)) == detector.step(stored, when, float(value))
    assert len(detector.encode(plain)) < 16_384


def test_missing_rows_are_missing_and_not_zero():
    whole = series(14, 40.0)
    gap = [row for index, row in enumerate(whole) if not 2000 <= index < 2600]
    after = list(score_series(gap))[2010:2300]
    assert not any(row.alert for row in after)
    assert np.mean([row.expected for row in after]) == pytest.approx(
        np.mean([float(row.value) for row in after]), rel=0.15
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("yesterday", "3"), "line 3: 'yesterday' is not a time"),
        (("2024-01-01 00:05:00", "many"), "line 3: 'many' is not a number"),
        (("2024-01-01 00:05:00", "-1"), "line 3: '-1' is not a count"),
        (("2024-01-01 00:05:00", "nan"), "line 3: 'nan' is not a count"),
        (("2024-01-01 00:00:00", "3"), "line 3: .* does not come after"),
        (("2024-01-01 00:05:00",), "line 3 has 1 fields"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_its_line(row, words):
    with pytest.raises(SeriesError, match=words):
        list(score_series([("2024-01-01 00:00:00", "1"), row]))


def test_a_file_is_scored_row_by_row(tmp_path: Path):
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    rows = raised(series(4, 40.0), 900, 906, 9.0)
    source.write_text("timestamp,value\n" + "".join(f"{at},{value}\n" for at, value in rows))
    summary = score_csv(source, output)
    with output.open(newline="") as lines:
        written = list(csv.DictReader(lines))
    assert summary.rows == len(written) == len(rows)
    assert summary.alerts == sum(int(row["alert"]) for row in written) >= 1
    assert list(written[0]) == ["timestamp", "value", "expected", "score", "alert"]


@pytest.mark.parametrize("text", ["", "time,count\n1,2\n"])
def test_a_file_with_another_header_is_refused(tmp_path: Path, text: str):
    source = tmp_path / "in.csv"
    source.write_text(text)
    with pytest.raises(SeriesError, match="timestamp,value"):
        score_csv(source, tmp_path / "out.csv")


def test_an_empty_series_gives_nothing():
    assert list(score_series([])) == []


def test_settings_and_state_are_checked():
    with pytest.raises(ConfigurationError, match="hold_hours"):
        SeriesSettings(hold_hours=0)
    with pytest.raises(StateError, match="interval"):
        SeriesDetector(60.0).decode(SeriesDetector(300.0).encode(SeriesDetector(300.0).initial()))
