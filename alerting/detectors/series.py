"""The same idea on one plain series of counts: `timestamp,value` in, expectation and score out.

Expectation is a level times the profile of the week, both learnt on line from rows that have left
every window under test; scatter is negative binomial. Bursts of real series have heavier tails
than any such model, so the tails are corrected by what the series itself has shown: the excess of
-log10 tail over a bound is exponential for a right model, and its mean and frequency are measured
(peaks over threshold, as in Siffer et al. 2017, "SPOT", with an exponential tail).
"""

import csv
import itertools
import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from alerting.detectors.baseline import Profile
from alerting.detectors.tail import log10_tail
from alerting.errors import ConfigurationError, SeriesError, StateError

VERSION = 1
"""Of the state's bytes."""

_SETUP_ROWS = 11
"""The interval of a series is the median step of its first rows, fixed from then on."""

_DEAF_SECONDS = 21_600
"""For its first hours a series has nothing to be held against."""

_WEEK_SECONDS = 604_800
_BOUND = 1.0
_CUT = 12.0
_MODEL_EXCESS = 1 / math.log(10)
_MODEL_FREQUENCY = 10**-_BOUND


class SeriesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Chosen on synthetic series with season, scatter and bursts of heavy tails.

    `alarms_per_week`: false alarms aimed at; the heavier the tails, the more come. `windows`:
    seconds of the sliding sums, beside the single row. `floor`: share of the mean level that is
    added to what is expected, because bursts do not shrink with the quiet hours. An alert ends
    after `quiet_hours` without surprise; for `hold_hours` after a peak only one larger by `growth`
    opens again, less and less so as the peak fades. `minimum`: least count in a window.
    """

    alarms_per_week: float = 0.5
    windows: tuple[int, ...] = (900, 3600)
    level_half_life_hours: float = 48.0
    memory_days: float = 14.0
    burn_in_hours: float = 48.0
    quiet_hours: float = 3.0
    hold_hours: float = 24.0
    growth: float = 1.1
    floor: float = 0.5
    minimum: float = 5.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            values = value if name == "windows" else (value,)
            if not all(math.isfinite(number) and number > 0 for number in values):
                raise ConfigurationError(f"{name} is {value}: give what is above 0")


class Scored(msgspec.Struct, frozen=True):
    """One row read. `expected` is the count its interval should have held, by the rows before it.

    `score` is 0 to 1 and above 0.5 only where `alert` is 1: the row in which an alert opens.
    """

    timestamp: str
    value: str
    expected: float
    score: float
    alert: int


class SeriesSummary(msgspec.Struct, frozen=True):
    """What `score_csv` wrote."""

    rows: int
    alerts: int


class Excess(msgspec.Struct, array_like=True):
    """How often -log10 tail beats the bound, and by how much, in the past of one window."""

    rows: float = 300.0
    beaten: float = 300.0 * _MODEL_FREQUENCY
    sum: float = 300.0 * _MODEL_FREQUENCY * _MODEL_EXCESS

    def decades(self, stat: float) -> float:
        """-log10 of how often a row is this surprising."""
        if stat <= _BOUND:
            return stat
        mean = max(self.sum / self.beaten, 0.5 * _MODEL_EXCESS)
        frequency = self.beaten / self.rows
        return (stat - _BOUND) / (mean * math.log(10)) - math.log10(frequency)

    def learn(self, stat: float, fade: float) -> None:
        """One more row; a single one counts for no more than twelve mean excesses."""
        self.rows = self.rows * fade + 1.0
        self.beaten *= fade
        self.sum *= fade
        if stat > _BOUND:
            self.beaten += 1.0
            mean = self.sum / self.beaten
            self.sum += min(stat - _BOUND, _CUT * max(mean, _MODEL_EXCESS))


class SeriesState(msgspec.Struct, array_like=True):
    """`recent` rows (seconds, value, expected) are in a window still and have taught nothing."""

    version: int
    interval: float
    first: float = -1.0
    recent: list[tuple[float, float, float]] = msgspec.field(default_factory=list)
    count: float = 0.0
    exposure: float = 0.0
    excess_variance: float = 0.0
    squares: float = 0.0
    profile: Profile = msgspec.field(default_factory=Profile)
    hour: int = -1
    hour_count: float = 0.0
    hour_rows: float = 0.0
    tails: list[Excess] = msgspec.field(default_factory=list)
    peak: float = 0.0
    peak_at: float = 0.0
    above_at: float = -1e18


class SeriesDetector:
    """`step` takes rows in order of time; see `alerting.detectors.base` for what it promises."""

    def __init__(self, interval: float, settings: SeriesSettings | None = None) -> None:
        if not interval > 0:
            raise ConfigurationError(f"interval is {interval} seconds: give more than 0")
        self.settings = settings or SeriesSettings()
        self.interval = interval
        spans = {1, *(round(seconds / interval) for seconds in self.settings.windows)}
        self._spans = sorted(span for span in spans if span >= 1)
        rows_per_week = _WEEK_SECONDS / interval
        self._threshold = math.log10(rows_per_week / self.settings.alarms_per_week)
        per_day = 86_400 / interval
        self._fade = 0.5 ** (1 / (self.settings.memory_days * per_day))
        self._day = min(per_day, 0.5 * self.settings.level_half_life_hours / 24 * per_day)
        self._level_fade = 0.5 ** (24 / (self.settings.level_half_life_hours * per_day))
        self._decoder = msgspec.msgpack.Decoder(SeriesState)

    def initial(self) -> SeriesState:
        """The state before the first row."""
        return SeriesState(VERSION, self.interval, tails=[Excess() for _ in self._spans])

    def encode(self, state: SeriesState) -> bytes:
        """Versioned bytes of the state."""
        return msgspec.msgpack.encode(state)

    def decode(self, payload: bytes) -> SeriesState:
        """The state again. Raises `StateError` for another version or interval."""
        try:
            head = msgspec.msgpack.decode(payload)[:2]
        except (msgspec.DecodeError, TypeError) as error:
            raise StateError(
                f"stored series state is not readable ({error}): start anew"
            ) from error
        if head != [VERSION, self.interval]:
            raise StateError(
                f"stored series state is of version and interval {head}, not "
                f"{[VERSION, self.interval]}: start anew"
            )
        return self._decoder.decode(payload)

    def step(self, state: SeriesState, at: float, value: float) -> tuple[float, float, bool]:
        """Expected count, score and whether an alert opens, for the count of the interval at `at`.

        `at` is in seconds since the epoch, UTC, and after the row before it.
        """
        if state.first < 0:
            state.first = at
        self._teach(state, at)
        expected = self._expected(state, at)
        state.recent.append((at, value, expected))
        decades = self._decades(state, at)
        young = at - state.first < self.settings.burn_in_hours * 3600
        above = decades - self._threshold - (2.0 if young else 0.0)
        ended = at - state.above_at > self.settings.quiet_hours * 3600
        new = ended and decades > self._held(state, at) * self.settings.growth
        alert = above > 0 and new
        if above > -1.0 and (alert or not ended):
            state.above_at = at
        if decades > self._held(state, at):
            state.peak, state.peak_at = decades, at
        score = 1.0 / (1.0 + 10.0 ** (-above / 4.0)) if above > -40 else 0.0
        if not alert:
            score = min(score, 0.5) if new else 0.5 * min(score, 0.5)
        return expected, score, alert

    def _held(self, state: SeriesState, at: float) -> float:
        """The last peak, fading."""
        age = (at - state.peak_at) / (self.settings.hold_hours * 3600)
        return state.peak * max(1.0 - age, 0.0)

    def _level(self, state: SeriesState) -> tuple[float, float]:
        """Mean count of a row at mean activity, and its Gamma shape."""
        return (0.5 + state.count) / (0.5 / 5.0 + state.exposure), 0.5 + state.count

    def _expected(self, state: SeriesState, at: float) -> float:
        return self._level(state)[0] * _activity(state.profile, at + self.interval / 2)

    def _decades(self, state: SeriesState, at: float) -> float:
        """The most surprising of the windows that end here, corrected by the series' own past."""
        level, shape = self._level(state)
        if at - state.first < _DEAF_SECONDS:
            return 0.0
        # Neighbouring rows err together, so a level is known no better than from its rows.
        unsure = 1.0 / min(shape, max(state.exposure, 1.0))
        dispersion = _spread(state) + unsure + state.profile.doubt_at(int(at // 3600))
        best = 0.0
        for span, tail in zip(self._spans, state.tails, strict=True):
            since = at - (span - 0.5) * self.interval
            observed, expected = 0.0, self.settings.floor * level * span
            for row_at, value, row_expected in reversed(state.recent):
                if row_at < since:
                    break
                observed += value
                expected += row_expected
            stat = 0.0
            if observed > expected:
                stat = -log10_tail(observed, expected, dispersion)
            if observed >= self.settings.minimum:
                best = max(best, tail.decades(stat))
            tail.learn(stat, self._fade)
        return best

    def _teach(self, state: SeriesState, at: float) -> None:
        """Learn the rows that no window ending at `at` holds."""
        since = at - (self._spans[-1] - 0.5) * self.interval
        while state.recent and state.recent[0][0] < since:
            row_at, value, _ = state.recent.pop(0)
            self._learn(state, row_at, value)

    def _learn(self, state: SeriesState, at: float, value: float) -> None:
        hour = int(at // 3600)
        if hour != state.hour:
            self._close_hour(state)
            state.hour, state.hour_count, state.hour_rows = hour, 0.0, 0.0
        activity = _activity(state.profile, at + self.interval / 2)
        mean = self._level(state)[0] * activity
        if state.exposure >= self._day:
            value = min(value, mean + 3.0 * math.sqrt(mean + _spread(state) * mean * mean) + 2.0)
            # Relative errors, so that busy hours do not outweigh the others.
            size = max(mean, 1.0)
            state.excess_variance *= self._fade
            state.excess_variance += ((value - mean) ** 2 - mean) / (size * size)
            state.squares = state.squares * self._fade + (mean / size) ** 2
        state.hour_count += value
        state.hour_rows += 1.0
        state.count = state.count * self._level_fade + value
        state.exposure = state.exposure * self._level_fade + activity

    def _close_hour(self, state: SeriesState) -> None:
        if state.hour_rows > 0 and state.exposure > 0:
            mean = self._level(state)[0] * state.hour_rows
            state.profile.teach(state.hour, state.hour_count / mean)
            state.profile.refresh()


def _spread(state: SeriesState) -> float:
    """Dispersion of a row, 0.3 until the series has shown its own."""
    return max((state.excess_variance + 0.3 * 50.0) / (state.squares + 50.0), 0.01)


def _activity(profile: Profile, at: float) -> float:
    """The profile between the middles of its hours."""
    place = at / 3600 - 0.5
    hour = math.floor(place)
    into = place - hour
    return profile.at(hour) * (1 - into) + profile.at(hour + 1) * into


def score_series(
    rows: Iterable[tuple[str, str]], settings: SeriesSettings | None = None
) -> Iterator[Scored]:
    """Each row scored, in order; `rows` are (timestamp, value) without the header.

    A timestamp is ISO 8601, taken as UTC where it names no zone; missing rows are missing, not
    zero. Raises `SeriesError`, with the line (the header is line 1), for a row that cannot be read
    or does not come after the one before it.
    """
    parsed = _parsed(rows)
    setup = list(itertools.islice(parsed, _SETUP_ROWS))
    steps = sorted(b[1] - a[1] for a, b in itertools.pairwise(setup))
    detector = SeriesDetector(steps[len(steps) // 2] if steps else 300.0, settings)
    state = detector.initial()
    for row, at, value in itertools.chain(setup, parsed):
        expected, score, alert = detector.step(state, at, value)
        yield Scored(row[0], row[1], round(expected, 4), round(score, 6), int(alert))


def _parsed(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], float, float]]:
    before = -math.inf
    for line, row in enumerate(rows, start=2):
        if len(row) != 2:
            raise SeriesError(f"line {line} has {len(row)} fields: give timestamp,value")
        try:
            stamp = datetime.fromisoformat(row[0].strip())
        except ValueError as error:
            raise SeriesError(
                f"line {line}: {row[0]!r} is not a time: give it as 2024-05-31 13:05:00"
            ) from error
        if stamp.tzinfo is None:
            stamp = stamp.replace(tzinfo=UTC)
        try:
            value = float(row[1])
        except ValueError as error:
            raise SeriesError(f"line {line}: {row[1]!r} is not a number") from error
        if not (math.isfinite(value) and value >= 0):
            raise SeriesError(f"line {line}: {row[1]!r} is not a count: give 0 or more")
        at = stamp.timestamp()
        if at <= before:
            raise SeriesError(
                f"line {line}: {row[0]} does not come after the row before it: sort the rows and "
                "keep one for each time"
            )
        before = at
        yield (row[0], row[1]), at, value


def score_csv(source: Path, output: Path, settings: SeriesSettings | None = None) -> SeriesSummary:
    """Read `timestamp,value` from a CSV file with that header, write one scored row for each.

    Raises `SeriesError` for a file that cannot be used, a wrong header or row; the rows before it
    are written.
    """
    try:
        with (
            source.open(newline="", encoding="utf-8-sig") as lines,
            output.open("w", newline="", encoding="utf-8") as out,
        ):
            return _score_lines(source, lines, csv.writer(out, lineterminator="\n"), settings)
    except OSError as error:
        raise SeriesError(f"{error.filename}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SeriesError(f"{source} is not a CSV file in UTF-8: {error}") from error


def _score_lines(
    source: Path, lines: Iterable[str], writer: Any, settings: SeriesSettings | None
) -> SeriesSummary:
    alerts = count = 0
    reader = csv.reader(lines)
    header = [name.strip().lower() for name in next(reader, [])]
    if header != ["timestamp", "value"]:
        raise SeriesError(f"{source}: the header is {','.join(header)}, not timestamp,value")
    writer.writerow(["timestamp", "value", "expected", "score", "alert"])
    for row in score_series(((*fields,) for fields in reader), settings):  # type: ignore[misc]
        writer.writerow([row.timestamp, row.value, row.expected, row.score, row.alert])
        count += 1
        alerts += row.alert
    return SeriesSummary(count, alerts)
