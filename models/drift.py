"""Has the stream moved away from what the model learned on? Labels, confidence and abstention.

Sums are gathered as messages go by (`Observed`, a few integers whatever the stream), held against
what the artifact says of its training data (`Reference`), and judged (`Drift`). A movement counts
only where it is both beyond chance and large: among millions of messages any is beyond chance.
"""

import math
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
from scipy.stats import chi2

from models.artifact import TaggingConfig
from models.calibration import Floats
from models.tags import HEADS, Tags

LARGE_PSI = 0.25
"""A population stability index from which the mix of labels is another one (Siddiqi 2006)."""

LARGE_SHIFT = 0.05
"""A movement of mean confidence, or of the share of abstentions, that matters."""

CHANCE = 0.001
"""A movement is beyond chance where fewer than this share of unmoved streams would show it."""

ABSTAINING = "sentiment"
"""The head whose confidence decides on abstention."""

_SMALLEST_SHARE = 1e-4
_MILLION = 1_000_000


class Reference(msgspec.Struct, frozen=True):
    """What is normal for a head: shares in the order of `models.tags.HEADS`, means in 0..1.

    None where the artifact does not say.
    """

    head: str
    shares: tuple[float, ...]
    confidence: float | None = None
    abstention: float | None = None


class Observed(msgspec.Struct, frozen=True):
    """Sums over the predictions of one head; those of parts add up to those of the whole, exactly.

    `counts`: texts by predicted label, in the order of `models.tags.HEADS`. `confidence`: the sum
    of the highest probabilities in millionths, None where it was not kept. `abstained`: texts on
    which the model abstained, None where it was not kept.
    """

    head: str
    counts: tuple[int, ...]
    confidence: int | None = None
    abstained: int | None = None

    @property
    def n(self) -> int:
        return sum(self.counts)

    def __add__(self, other: "Observed") -> "Observed":
        if self.head != other.head:
            raise ValueError(f"Sums of head {self.head} and of head {other.head} do not add up.")
        return Observed(
            self.head,
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            _both(self.confidence, other.confidence),
            _both(self.abstained, other.abstained),
        )


class Drift(msgspec.Struct, frozen=True):
    """How far `n` predictions of a head are from the reference; None where that says nothing.

    `psi`: population stability index of the labels; `p`: how often chance alone gives as much
    (G-test). `labels_moved`, `confidence_moved`, `abstention_moved`: beyond chance and large.
    """

    head: str
    n: int
    shares: dict[str, float]
    psi: float
    p: float
    labels_moved: bool
    confidence: float | None
    expected_confidence: float | None
    confidence_moved: bool
    abstention: float | None
    expected_abstention: float | None
    abstention_moved: bool

    @property
    def moved(self) -> bool:
        return self.labels_moved or self.confidence_moved or self.abstention_moved


def reference(config: TaggingConfig, head: str) -> Reference | None:
    """What the artifact says of `head`; None where it does not know its training data."""
    shares = config.label_shares.get(head)
    if not shares:
        return None
    return Reference(
        head,
        tuple(shares.get(label, 0.0) for label in HEADS[head]),
        config.mean_confidence.get(head),
        config.abstention_share if head == ABSTAINING else None,
    )


def observe(head: str, tags: Iterable[Tags]) -> Observed:
    """The sums over `tags`."""
    labels = HEADS[head]
    counts, confidence, abstained = [0] * len(labels), 0, 0
    for tag in tags:
        chances = tag.sentiments if head == "sentiment" else tag.topics
        highest = max(chances)
        counts[chances.index(highest)] += 1
        confidence += round(highest * _MILLION)
        abstained += tag.abstained
    return Observed(head, tuple(counts), confidence, abstained if head == ABSTAINING else None)


def observed_counts(head: str, counts: Mapping[str, int]) -> Observed:
    """Sums from messages counted by predicted label, as a store can give them."""
    return Observed(head, tuple(counts.get(label, 0) for label in HEADS[head]))


def compare(observed: Observed, normal: Reference) -> Drift | None:
    """How far the predictions are from what is normal; None where there are none."""
    n = observed.n
    if not n:
        return None
    psi, p = _labels(observed.counts, normal.shares)
    confidence = None if observed.confidence is None else observed.confidence / _MILLION / n
    abstention = None if observed.abstained is None else observed.abstained / n
    return Drift(
        head=observed.head,
        n=n,
        shares={
            label: count / n
            for label, count in zip(HEADS[observed.head], observed.counts, strict=True)
        },
        psi=psi,
        p=p,
        labels_moved=psi >= LARGE_PSI and p < CHANCE,
        confidence=confidence,
        expected_confidence=normal.confidence,
        confidence_moved=_mean_moved(confidence, normal.confidence, n),
        abstention=abstention,
        expected_abstention=normal.abstention,
        abstention_moved=_mean_moved(abstention, normal.abstention, n),
    )


def metrics(drift: Drift) -> dict[str, float]:
    """The figures as Prometheus gauges: series (name and labels, as exposed) -> value."""
    head = f'head="{drift.head}"'
    values = {
        f"foreshock_drift_messages{{{head}}}": float(drift.n),
        f"foreshock_drift_label_psi{{{head}}}": drift.psi,
        f'foreshock_drift_moved{{{head},what="labels"}}': float(drift.labels_moved),
        f'foreshock_drift_moved{{{head},what="confidence"}}': float(drift.confidence_moved),
        f'foreshock_drift_moved{{{head},what="abstention"}}': float(drift.abstention_moved),
    }
    for label, share in drift.shares.items():
        values[f'foreshock_label_share_ratio{{{head},label="{label}"}}'] = share
    if drift.confidence is not None:
        values[f"foreshock_mean_confidence_ratio{{{head}}}"] = drift.confidence
    if drift.abstention is not None:
        values[f"foreshock_abstention_ratio{{{head}}}"] = drift.abstention
    return values


def _labels(counts: tuple[int, ...], expected: tuple[float, ...]) -> tuple[float, float]:
    """Population stability index, and p of the G-test; shares are floored, none is impossible."""
    found = np.array(counts, np.float64)
    share, normal = _floored(found / found.sum()), _floored(np.array(expected, np.float64))
    psi = float(((share - normal) * np.log(share / normal)).sum())
    seen = found > 0
    g = 2 * float((found[seen] * np.log(found[seen] / (found.sum() * normal[seen]))).sum())
    return psi, float(chi2.sf(g, len(counts) - 1))


def _floored(shares: Floats) -> Floats:
    raised: Floats = np.maximum(shares, _SMALLEST_SHARE)
    return raised / float(raised.sum())


def _mean_moved(found: float | None, expected: float | None, n: int) -> bool:
    """Large, and more than chance moves a mean of n values in 0..1 (Hoeffding 1963)."""
    if found is None or expected is None:
        return False
    by_chance = math.sqrt(math.log(2 / CHANCE) / (2 * n))
    return abs(found - expected) >= max(LARGE_SHIFT, by_chance)


def _both(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
