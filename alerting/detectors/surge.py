"""The detector of negative surges: hierarchical Gamma-Poisson baseline, scan over scales, CUSUM.

A key is looked at only in minutes in which it counts something, because only then can a window
newly exceed; the time in between is accounted for when the key counts again. A window is held
against what lies strictly before it.

Sources: Noufaily et al. 2013 (robust negative binomial baselines), Kulldorff 1997 (scan over
scales), Hoehle & Paul 2008 (count CUSUM); the calibration is described in `calibration`.
"""

import hashlib
import math
from datetime import UTC, datetime

import msgspec

from alerting.detectors.baseline import SERIES, Baseline, Prior
from alerting.detectors.calibration import (
    CLEARLY_MORE,
    LONG_SCALE,
    LONG_SCALE_EXPECTED,
    QUIET_MINUTES,
    SCALES,
    shipped,
    table_bytes,
)
from alerting.detectors.keys import Drift, Episode, Flow, Group, KeyState, SurgeState, checksum
from alerting.detectors.tail import log10_tail, log_likelihood_ratio, share_tail
from alerting.detectors.tally import MASK, WIDTH, Sliding, pack, pack_weights
from alerting.errors import ConfigurationError, StateError
from alerting.spike import SEVERITIES, Spike, spike_id
from alerting.windows import MILLION, OVERALL, EvidenceRef, Minute, WindowStats

VERSION = 1
"""Of the state's bytes."""

BUDGETS = {"fewer": 0.5, "balanced": 2.0, "more": 7.0}
"""False alarms a week for the whole watch list."""

_KIND_OF = ("negative_surge", "amplification", "volume")
_NEUTRAL_RANK = SEVERITIES.index("medium")
"""Volume without negative news is never more than this."""

SHARE_OF_BUDGET = {"negative_surge": 0.85, "amplification": 0.25, "volume": 0.3, "slow_drift": 0.1}
"""More than one together, because part of each goes unused: rare keys seldom reach the minimum
counts, and the bound of the cumulative sum is a safe one. Chosen by simulation."""

_DAY = 1440
_LEAST_EXPECTED = 0.12
"""No window is taken to expect less: three messages are never a surge by rarity alone."""

_FEW, _FEW_FACTOR = 5.0, 1.7
"""A key that has taught fewer counts than this must show more than the minimum by this factor."""

_MARKET_WEIGHT = 5.0
"""How many counts of evidence the market's usual level weighs against its present one."""

_YOUNG = 14 * _DAY
"""A stream this young learns its profile and its priors anew each hour, an older one each day."""

_DEAF = 360
"""For its first minutes a stream has nothing to be held against."""

_LONG_EPISODE = 3 * _DAY
"""After this long in alarm the new level is taken as normal and learnt at full weight."""

_DRIFT_KNOWN = 30.0
"""Negative stories that a key must have taught before a drift of its rate can be told."""

_HOUR = SCALES.index(60)
_GAP_PROBABILITY = math.log(1e-6)
_GAP_MINUTES = 15


class SurgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may set; every value is checked.

    `budget`: false alarms a week over all keys. `minimum_*`: least weighted count in a window.
    `confusion`: share of neutral messages that the model calls negative. `hysteresis`: decades of
    surprise by which an alarm may fall before it ends. `refresh_minutes`: how often a lasting
    alarm reports though nothing changed (must stay below the alert's quiet period).
    """

    budget: str | float = "balanced"
    minimum_negative: float = 3.0
    minimum_repeats: float = 5.0
    minimum_volume: float = 10.0
    confusion: float = 0.05
    half_life_days: float = 21.0
    hysteresis: float = 1.0
    refresh_minutes: int = 60
    drift_factor: float = 2.0
    burn_in_hours: float = 48.0
    expiry_days: float = 90.0

    def __post_init__(self) -> None:
        if isinstance(self.budget, str) and self.budget not in BUDGETS:
            raise ConfigurationError(
                f"budget is {self.budget!r}: give one of {', '.join(BUDGETS)}, or a number of "
                "false alarms a week"
            )
        bounds = {
            "minimum_negative": (1.0, 1e6),
            "minimum_repeats": (1.0, 1e6),
            "minimum_volume": (1.0, 1e6),
            "confusion": (0.0, 0.5),
            "half_life_days": (1.0, 365.0),
            "hysteresis": (0.0, 10.0),
            "refresh_minutes": (1, QUIET_MINUTES),
            "drift_factor": (1.1, 10.0),
            "burn_in_hours": (0.0, 720.0),
            "expiry_days": (2.0, 3650.0),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigurationError(f"{name} is {value}: give {least} to {most}")
        if not 0 < self.alarms_per_week <= 1e4:
            raise ConfigurationError(f"budget is {self.budget}: give more than 0, at most 10000")

    @property
    def alarms_per_week(self) -> float:
        """The budget as a number."""
        return BUDGETS[self.budget] if isinstance(self.budget, str) else self.budget


class _Reading(msgspec.Struct):
    """The most surprising window of a series; `minute`s from the epoch."""

    scale: int
    start: int
    observed: float
    expected: float
    dispersion: float
    stat: float
    surprise: float = 0.0
    usual_share: float = 0.0


class SurgeDetector:
    """See `alerting.detectors.base.Detector`. `model` names the model whose labels are counted.

    `configuration` is what its spikes are filed under: the hash of the whole run's rules, where
    the detector is a part of one.
    """

    def __init__(
        self,
        settings: SurgeSettings | None = None,
        model: str = "",
        configuration: str | None = None,
    ) -> None:
        self.settings = settings or SurgeSettings()
        self.model = model
        identity = msgspec.json.encode(self.settings) + checksum(table_bytes()).encode()
        self.configuration_hash = hashlib.sha256(identity).hexdigest()[:16]
        self.configuration = configuration or self.configuration_hash
        self._runlength = shipped()
        self._memory = self.settings.half_life_days * 24
        self._minimum = (
            self.settings.minimum_negative,
            self.settings.minimum_repeats,
            self.settings.minimum_volume,
        )
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_to_wire)
        self._decoder = msgspec.msgpack.Decoder(SurgeState, dec_hook=_from_wire)

    # state

    def initial(self) -> SurgeState:
        return SurgeState(VERSION, self.configuration_hash, {})

    def encode(self, state: SurgeState) -> bytes:
        return self._encoder.encode(state)

    def decode(self, payload: bytes) -> SurgeState:
        try:
            head = msgspec.msgpack.decode(payload)[:2]
        except (msgspec.DecodeError, TypeError) as error:
            raise StateError(
                f"stored detector state is not readable ({error}): rebuild it by a replay"
            ) from error
        if head[:1] != [VERSION]:
            raise StateError(
                f"stored detector state has version {head[:1]}, this code reads {VERSION}: "
                "rebuild it by a replay"
            )
        if head[1:] != [self.configuration_hash]:
            raise StateError(
                f"stored detector state is of configuration {head[1:]}, not "
                f"{self.configuration_hash}: rebuild it by a replay"
            )
        return self._decoder.decode(payload)

    # one minute

    def step(self, state: SurgeState, minute: Minute) -> list[Spike]:
        at = int(minute.start.timestamp()) // 60
        if at <= state.minute:
            raise StateError(
                f"minute {minute.start.isoformat()} is not after the last one: feed them in order"
            )
        self._pass_time(state, at)
        touched = []
        for key, stats in sorted(minute.stats.items()):
            group = self._group(state, key)
            touched.append((stats, group, self._count(state, group, at, stats, minute)))
        state.minute = at
        return [
            spike
            for stats, group, held in touched
            if stats.weight_new or stats.weight_repeats_negative
            for spike in self._look(state, group, held, stats)
        ]

    def _pass_time(self, state: SurgeState, at: int) -> None:
        clock = state.clock
        if not clock.marks:
            clock.begin(at)
            state.started = at
            _run(state, at, missing=True)
        hour = clock.hour
        if _is_gap(state, at):
            _run(state, at, missing=True)
        _run(state, at + 1, missing=False)
        young = at - state.started < _YOUNG
        if clock.hour != hour:
            if young or clock.hour // 24 != hour // 24:
                state.profile.refresh()
            for group in state.groups.values():
                group.scatter.fade(0.5 ** ((clock.hour - hour) / self._memory))
        if clock.hour // 24 != state.refreshed // 24 or (young and clock.hour != state.refreshed):
            state.refreshed = clock.hour
            self._refresh(state, at)

    def _refresh(self, state: SurgeState, at: int) -> None:
        """Drop keys long silent, share the budget anew, fit each group's prior to its keys."""
        expired = at - self.settings.expiry_days * _DAY
        for key in [key for key, held in state.keys.items() if held.seen < expired]:
            del state.keys[key]
        state.active = sum(held.seen > at - 14 * _DAY for held in state.keys.values())
        members: dict[str, list[Baseline]] = {}
        for key in sorted(state.keys):
            members.setdefault(_group_of(key), []).append(state.keys[key].flow.baseline)
        for name, baselines in members.items():
            if name != OVERALL:
                _fit_prior(state.groups[name].prior, baselines)

    # counting

    def _count(
        self, state: SurgeState, group: Group, at: int, stats: WindowStats, minute: Minute
    ) -> KeyState:
        key = stats.key
        held = state.keys.get(key)
        if held is None:
            baseline = Baseline(state.clock.at(at // 60 * 60))
            held = state.keys[key] = KeyState(Flow(baseline), at, _usual(baseline, group))
        if held.episodes:
            _end_quiet_episodes(held, at)
        if held.flow.untaught(at // 60):
            self._learn(state, held, group, at)
        packed = pack(stats)
        if key != OVERALL:
            _add_to_market(group, held, at, packed)
        held.flow.add(at, packed)
        held.remember(at, minute.sources[key], minute.evidence[key])
        return held

    def _group(self, state: SurgeState, key: str) -> Group:
        """The key's group, its market caught up."""
        name = _group_of(key)
        clock = state.clock
        group = state.groups.get(name)
        if group is None:
            group = state.groups[name] = _new_group(clock.at(clock.hour * 60))
        if group.market.untaught(clock.hour):
            group.market.catch_up(
                clock, group.market_scatter, group.market_prior, [1.0] * SERIES, self._memory
            )
        return group

    def _learn(self, state: SurgeState, held: KeyState, group: Group, at: int) -> None:
        held.write_history(at // 60)
        weights = [1.0] * SERIES
        if held.episodes:
            weights = _learning_weights(held, at)
        baseline = held.flow.baseline
        rate = baseline.rate(0, group.prior)
        count = (held.flow.windows[-1].slots[-1][1] & MASK) / MILLION
        spans = held.flow.catch_up(state.clock, group.scatter, group.prior, weights, self._memory)
        held.usual = _usual(baseline, group)
        if baseline.counts[0] >= _DRIFT_KNOWN:
            dispersion = baseline.dispersion(0, group.scatter)
            self._drift_on(held.drift, at // 60, (count, 0.0), rate, dispersion, spans)

    def _drift_on(
        self,
        drift: Drift,
        hour: int,
        counts: tuple[float, float],
        rate: float,
        dispersion: float,
        spans: tuple[float, float],
    ) -> None:
        """Add an hour and the empty time after it to the cumulative sum."""
        for count, exposure in zip(counts, spans, strict=True):
            mean = rate * exposure
            if mean <= 0:
                continue
            cut = min(count, mean + 3.0 * math.sqrt(mean + dispersion * mean * mean) + 2.0)
            drift.score += log_likelihood_ratio(
                cut, mean, self.settings.drift_factor, dispersion / max(exposure, 1.0)
            )
            drift.observed += count
            drift.expected += mean
            if drift.score <= 0:
                drift.score, drift.since, drift.observed, drift.expected = 0.0, hour, 0.0, 0.0

    # looking

    def _look(
        self, state: SurgeState, group: Group, held: KeyState, stats: WindowStats
    ) -> list[Spike]:
        key = stats.key
        spikes: list[Spike | None] = []
        if stats.weight_new_negative:
            reading = self._scan(state, held, group, 0)
            if reading is not None and _is_negative(reading, held):
                spikes.append(self._report(state, key, held, 0, reading, stats.final))
            spikes.append(self._look_for_drift(state, key, held, group, stats.final))
        if stats.weight_repeats_negative:
            reading = self._scan(state, held, group, 1)
            if reading is not None:
                spikes.append(self._report(state, key, held, 1, reading, stats.final))
        if stats.weight_new and "negative_surge" not in held.episodes:
            reading = self._scan(state, held, group, 2)
            if reading is not None:
                spikes.append(self._report(state, key, held, 2, reading, stats.final))
        return [spike for spike in spikes if spike is not None]

    def _scan(
        self, state: SurgeState, held: KeyState, group: Group, series: int
    ) -> _Reading | None:
        """The window that is most surprising, or None where none is clearly above expectation."""
        flow, clock, minute = held.flow, state.clock, state.minute
        if minute - state.started < _DEAF:
            return None
        minimum = self._minimum[series]
        if flow.baseline.counts[series] < _FEW:
            minimum *= _FEW_FACTOR
        if flow.observed(len(SCALES) - 1, series) < minimum:
            return None
        rested = held.rested.get(_KIND_OF[series], -1)
        episode = held.episodes.get(_KIND_OF[series])
        longest = len(SCALES) - 1 if episode is None else max(episode.scale, _HOUR)
        learning = 1.0 if episode is None else 0.25
        present = flow.baseline.rate(series, group.prior)
        best: _Reading | None = None
        for scale, window in enumerate(flow.windows[: longest + 1]):
            observed = flow.observed(scale, series)
            start = max(window.start(minute), state.started)
            if observed < minimum or start < rested:
                continue
            begin = clock.at(start)
            exposure = clock.reading - begin
            mean = present * exposure
            if scale >= LONG_SCALE and mean > LONG_SCALE_EXPECTED:
                continue
            # What the window taught lies between it and what was before: not above now is not
            # above then, and most windows end here.
            if observed <= mean + math.sqrt(mean):
                continue
            since = flow.baseline.read - begin
            rate, shape = flow.baseline.before(series, group.prior, start // 60, since, learning)
            mean = max(rate * exposure, _LEAST_EXPECTED)
            if observed <= CLEARLY_MORE * mean:
                continue
            ratio = _market_ratio(state, held, group, series, scale, start, mean)
            expected = mean * ratio
            if series == 0:
                volume = flow.baseline.before(2, group.prior, start // 60, since, learning)[0]
                usual = max(volume * exposure * ratio, expected)
                other = flow.observed(scale, 2) - observed - (usual - expected)
                expected += self.settings.confusion * max(other, 0.0)
            if observed <= CLEARLY_MORE * expected:
                continue
            # Neutral messages called negative scatter like Poisson, however the key's own do.
            dispersion = (mean * ratio / expected) ** 2 * (
                flow.baseline.dispersion(series, group.scatter)
                + 1.0 / shape
                + state.profile.doubt_at(minute // 60)
            )
            stat = -log10_tail(observed, expected, dispersion)
            if best is None or stat > best.stat:
                best = _Reading(scale, start, observed, expected, dispersion, stat)
        if best is not None:
            hourly = best.expected * 60 / (minute + 1 - best.start)
            best.surprise = self._runlength.surprise(best.stat, hourly, best.dispersion)
            best.usual_share = self._usual_share(state, held, group, best.start)
        return best

    def _usual_share(self, state: SurgeState, held: KeyState, group: Group, start: int) -> float:
        """Share of negatives among the key's new stories before a minute."""
        baseline = held.flow.baseline
        since = baseline.read - state.clock.at(start)
        rates = [
            baseline.before(series, group.prior, start // 60, since, 1.0)[0] for series in (0, 2)
        ]
        return min(max(rates[0] / rates[1], 0.001), 0.999)

    def _threshold(self, state: SurgeState, kind: str) -> float:
        keys = max(state.active, len(state.keys) if state.active == 0 else 1)
        allowed = self.settings.alarms_per_week * SHARE_OF_BUDGET[kind] / keys
        burning_in = state.minute - state.started < self.settings.burn_in_hours * 60
        return -math.log10(allowed) + (3.0 if burning_in else 0.0)

    def _report(
        self,
        state: SurgeState,
        key: str,
        held: KeyState,
        series: int,
        reading: _Reading,
        final: bool,
    ) -> Spike | None:
        """Open, go on with, or stay out of an episode; a spike where there is news to tell."""
        kind = _KIND_OF[series]
        threshold = self._threshold(state, kind)
        episode = held.episodes.get(kind)
        floor = threshold
        if episode is not None:
            floor = min(threshold, max(threshold - self.settings.hysteresis, 0.0))
        if reading.surprise < floor:
            return None
        share = held.flow.observed(reading.scale, 0) / max(
            held.flow.observed(reading.scale, 2), 1e-9
        )
        rank = _severity(
            reading.surprise - threshold,
            reading.observed,
            series == 0
            and share_tail(
                reading.observed,
                held.flow.observed(reading.scale, 2),
                reading.usual_share,
                20.0,
            )
            < 0.01,
        )
        if kind == "volume":
            rank = min(rank, _NEUTRAL_RANK)
        phase = "continuing"
        if episode is None:
            phase = "opening"
            episode = held.episodes[kind] = Episode(
                state.minute, state.minute, state.minute, reading.surprise, rank, reading.scale
            )
        elif not self._is_news(episode, state.minute, reading.surprise, rank):
            episode.above = state.minute
            return None
        episode.above = episode.told_at = state.minute
        episode.told = max(episode.told, reading.surprise)
        episode.rank = max(episode.rank, rank)
        return self._spike(state, key, held, kind, phase, reading, threshold, rank, share, final)

    def _is_news(self, episode: Episode, minute: int, surprise: float, rank: int) -> bool:
        return (
            rank > episode.rank
            or surprise > 2.0 * max(episode.told, 0.0) + 1.0
            or minute - episode.told_at >= self.settings.refresh_minutes
        )

    def _look_for_drift(
        self, state: SurgeState, key: str, held: KeyState, group: Group, final: bool
    ) -> Spike | None:
        """A rate raised for days: the cumulative sum with the current hour beats its bound.

        By Lorden's inequality a bound of log(hours between false alarms) is kept on average at
        least that long, so the budget is not exceeded.
        """
        kind = "slow_drift"
        threshold = self._threshold(state, kind)
        if held.drift.score <= 0:
            return None
        surprise = held.drift.score / math.log(10) - math.log10(168)
        if surprise < threshold:
            return None
        drift, minute = held.drift, state.minute
        episode = held.episodes.get(kind)
        reading = _Reading(
            len(SCALES) - 1,
            max(drift.since * 60, state.started),
            drift.observed,
            drift.expected,
            held.flow.baseline.dispersion(0, group.scatter),
            held.drift.score / math.log(10),
            surprise,
        )
        held.drift = Drift(since=minute // 60)
        rank = _severity(surprise - threshold, reading.observed, False)
        phase = "opening" if episode is None else "continuing"
        held.episodes[kind] = Episode(minute, minute, minute, surprise, rank, len(SCALES) - 1)
        negative, volume = (held.flow.observed(len(SCALES) - 1, s) for s in (0, 2))
        reading.usual_share = self._usual_share(state, held, group, reading.start)
        share = negative / max(volume, 1e-9)
        return self._spike(state, key, held, kind, phase, reading, threshold, rank, share, final)

    def _spike(
        self,
        state: SurgeState,
        key: str,
        held: KeyState,
        kind: str,
        phase: str,
        reading: _Reading,
        threshold: float,
        rank: int,
        share: float,
        final: bool,
    ) -> Spike:
        end = _time(state.minute + 1)
        start = _time(reading.start)
        return Spike(
            id=spike_id(key, kind, end, self.configuration, self.model),
            key=key,
            kind=kind,
            phase=phase,
            window_start=start,
            window_end=end,
            scale_seconds=60 * (state.minute + 1 - reading.start),
            observed=round(reading.observed, 6),
            expected=round(reading.expected, 6),
            dispersion=round(reading.dispersion, 6),
            log10_tail=round(-reading.stat, 6),
            surprise=round(reading.surprise, 6),
            threshold=round(threshold, 6),
            severity=SEVERITIES[rank],
            negative_share=round(min(share, 1.0), 6),
            expected_negative_share=round(reading.usual_share, 6),
            counts=held.counts(reading.scale, reading.start)
            | held.same_hours(state.minute // 60, state.started // 60),
            message_ids=_heaviest(held.evidence, start),
            configuration=self.configuration,
            model=self.model,
            final=final,
        )


def _to_wire(value: object) -> object:
    if isinstance(value, Sliding):
        return value.wire()
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def _from_wire(kind: type, value: list[list[int]]) -> object:
    if kind is Sliding:
        return Sliding.from_wire(value)
    raise NotImplementedError(f"cannot decode {kind.__name__}")


def _end_quiet_episodes(held: KeyState, at: int) -> None:
    for kind in [k for k, e in held.episodes.items() if at - e.above > QUIET_MINUTES]:
        held.rested[kind] = held.episodes.pop(kind).above + 1


def _learning_weights(held: KeyState, at: int) -> list[float]:
    """A series in alarm teaches little, and its volume with it, until the alarm has lasted long."""
    weights = [
        0.25 if kind in held.episodes and at - held.episodes[kind].opened < _LONG_EPISODE else 1.0
        for kind in _KIND_OF
    ]
    weights[2] = min(weights)
    return weights


def _time(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _group_of(key: str) -> str:
    return key.partition(":")[0]


def _heaviest(evidence: list[EvidenceRef], start: datetime) -> tuple[str, ...]:
    """Ids of the window's messages by weight times probability of being negative."""
    inside = [ref for ref in evidence if ref.published_at >= start]
    inside.sort(key=lambda ref: (-ref.weight * ref.negative, ref.published_at, ref.message_id))
    return tuple(ref.message_id for ref in inside)


def _new_group(read: float) -> Group:
    """Little is known of a new group: a rate of 0.2 an hour, give or take everything."""
    return Group(
        prior=Prior([0.1, 0.1, 0.3], [0.5] * SERIES),
        market_prior=Prior([0.5, 0.5, 2.0], [0.5] * SERIES),
        market=Flow(Baseline(read)),
    )


def _fit_prior(prior: Prior, baselines: list[Baseline]) -> None:
    """Mean and shape by moments over the keys; few keys leave the shape wide."""
    for series in range(SERIES):
        exposure = sum(b.exposure[series] for b in baselines)
        if exposure < 24.0:
            continue
        rates = [b.rate(series, prior) for b in baselines]
        mean = max(sum(rates) / len(rates), 1e-4)
        variance = sum((rate - mean) ** 2 for rate in rates) / len(rates)
        known = len(rates) / (len(rates) + 10.0)
        shape = known * mean * mean / max(variance, 1e-12) + (1 - known) * 0.5
        prior.means[series] = mean
        prior.shapes[series] = min(max(shape, 0.3), 3.0)


def _usual(baseline: Baseline, group: Group) -> list[float]:
    """The most that a key may add to its market within an hour."""
    return [3.0 + 4.0 * baseline.rate(series, group.prior) for series in range(SERIES)]


def _add_to_market(group: Group, held: KeyState, at: int, packed: int) -> None:
    """Let a key move its market only as far as is usual for it."""
    weights = []
    for series in range(SERIES):
        room = int((held.usual[series] - held.flow.observed(_HOUR, series)) * MILLION)
        weights.append(max(min(packed >> WIDTH * series & MASK, room), 0))
    group.market.add(at, pack_weights(weights))


def _market_ratio(
    state: SurgeState,
    held: KeyState,
    group: Group,
    series: int,
    scale: int,
    start: int,
    own: float,
) -> float:
    """How much more than usual the other keys of the group count now, in the same window.

    A market quieter than usual lowers nothing: its few counts would add more noise than they tell.
    """
    if not group.market.windows[0].slots:
        return 1.0
    begin = state.clock.at(start)
    market = group.market
    rate, _ = market.baseline.before(
        series, group.market_prior, start // 60, market.baseline.read - begin, 1.0
    )
    expected = rate * (state.clock.reading - begin) - own
    cut = held.usual[series] * max(SCALES[scale] / 60, 1.0)
    observed = market.observed(scale, series) - min(held.flow.observed(scale, series), cut)
    ratio = (_MARKET_WEIGHT + max(observed, 0.0)) / (_MARKET_WEIGHT + max(expected, 0.0))
    return max(ratio, 1.0)


def _is_negative(reading: _Reading, held: KeyState) -> bool:
    """The share of negatives is not clearly below the key's own: else it is volume that surges."""
    share = reading.observed / max(held.flow.observed(reading.scale, 2), 1e-9)
    return share >= min(0.75 * reading.usual_share, 0.5)


def _severity(excess: float, observed: float, share_above: bool) -> int:
    """Index into SEVERITIES from decades of surprise above the threshold, size, and mood."""
    rank = 0
    for least_excess, least_observed in ((1.0, 4.0), (2.5, 6.0), (5.0, 15.0)):
        rank += excess >= least_excess and observed >= least_observed
    return min(rank + (share_above and observed >= 4.0), len(SEVERITIES) - 1)


def _run(state: SurgeState, until: int, *, missing: bool) -> None:
    """Let the clock pass, at the profile's pace or not at all, and teach the profile each hour."""
    clock = state.clock
    while clock.now < until:
        if clock.ended():
            if not state.broken:
                _teach_profile(state, clock.hour)
            state.broken = False
            clock.turn()
        edge = min(until, clock.hour * 60 + 60)
        clock.run(edge, 0.0 if missing else state.profile.at(clock.hour))
        state.broken |= missing


def _teach_profile(state: SurgeState, hour: int) -> None:
    held = state.keys.get(OVERALL)
    if held is None or held.flow.baseline.exposure[2] * 60 < _DEAF:
        return
    volume = 0
    for slot, packed in held.flow.windows[-1].slots:
        if slot == hour:
            volume = packed >> 2 * WIDTH & MASK
    usual = held.flow.baseline.rate(2, state.groups[OVERALL].prior)
    state.profile.teach(hour, volume / MILLION / usual)


def _is_gap(state: SurgeState, at: int) -> bool:
    """Nothing of any key since the last minute, for improbably long: collection was down."""
    if state.minute < 0 or at - state.minute - 1 < _GAP_MINUTES:
        return False
    held = state.keys.get(OVERALL)
    if held is None or held.flow.baseline.counts[2] < 50.0:
        return False
    group = state.groups[OVERALL]
    rate = held.flow.baseline.rate(2, group.prior)
    size = 1.0 / held.flow.baseline.dispersion(2, group.scatter)
    log_probability, minute = 0.0, state.minute + 1
    while minute < at and log_probability > _GAP_PROBABILITY:
        edge = min(at, minute // 60 * 60 + 60)
        mean = rate * state.profile.at(minute // 60) * (edge - minute) / 60
        log_probability -= size * math.log1p(mean / size)
        minute = edge
    return log_probability <= _GAP_PROBABILITY
