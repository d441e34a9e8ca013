from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.drift import (
    Observed,
    Reference,
    compare,
    metrics,
    observe,
    observed_counts,
    reference,
)
from models.tagger import Tagger
from models.tags import SENTIMENTS, TOPICS, Tags

NORMAL = Reference("sentiment", (0.2, 0.5, 0.3), confidence=0.85, abstention=0.02)
TEXTS = ["Shares plunge", "Shares soar", "Annual meeting on Monday", "", "Oil slides again"]

sums = st.builds(
    Observed,
    st.just("sentiment"),
    st.tuples(*[st.integers(0, 10**9)] * 3),
    st.integers(0, 10**15),
    st.integers(0, 10**9),
)


def observed(shares: tuple[float, ...], n: int, **more: float) -> Observed:
    found = Observed("sentiment", tuple(round(share * n) for share in shares))
    return msgspec.structs.replace(found, **{k: round(v * n) for k, v in more.items()})


def test_another_mix_of_labels_is_noticed() -> None:
    drift = compare(observed((0.55, 0.3, 0.15), 500), NORMAL)
    assert drift is not None
    assert drift.labels_moved
    assert drift.moved
    assert drift.psi == pytest.approx(
        0.35 * np.log(0.55 / 0.2) - 0.2 * np.log(0.3 / 0.5) - 0.15 * np.log(0.15 / 0.3)
    )


def test_a_small_movement_among_millions_is_no_alarm() -> None:
    drift = compare(observed((0.21, 0.49, 0.3), 10_000_000), NORMAL)
    assert drift is not None
    assert drift.p < 1e-9
    assert not drift.moved


def test_a_large_movement_among_a_handful_is_no_alarm() -> None:
    drift = compare(Observed("sentiment", (2, 1, 1), 2_000_000, 2), NORMAL)
    assert drift is not None
    assert drift.psi > 0.25
    assert not drift.moved


@pytest.mark.parametrize("n", [5, 40, 1_000, 100_000])
@pytest.mark.parametrize("shares", [NORMAL.shares, (0.9,) + (0.1 / 19,) * 19])
def test_the_training_data_itself_raises_no_alarm(n: int, shares: tuple[float, ...]) -> None:
    head = "sentiment" if len(shares) == 3 else "topic"
    chance = np.random.default_rng(4)
    alarms = 0
    for _ in range(300):
        counts = tuple(chance.multinomial(n, shares).tolist())
        drift = compare(Observed(head, counts), Reference(head, shares))
        alarms += drift is not None and drift.moved
    assert alarms <= 1


@pytest.mark.parametrize(
    ("confidence", "abstained", "moved"),
    [
        (0.84, 0.03, ""),
        (0.7, 0.03, "confidence"),
        (0.84, 0.3, "abstention"),
        (0.95, 0.02, "confidence"),
    ],
)
def test_confidence_and_abstention_are_watched(
    confidence: float, abstained: float, moved: str
) -> None:
    found = observed((0.2, 0.5, 0.3), 4_000, confidence=confidence * 1e6, abstained=abstained)
    drift = compare(found, NORMAL)
    assert drift is not None
    assert drift.confidence == pytest.approx(confidence)
    assert drift.confidence_moved == (moved == "confidence")
    assert drift.abstention_moved == (moved == "abstention")


def test_what_is_not_known_is_not_judged() -> None:
    drift = compare(observed_counts("sentiment", {"neutral": 50, "positive": 30, "negative": 20}),
                    Reference("sentiment", (0.2, 0.5, 0.3)))  # fmt: skip
    assert drift is not None
    assert (drift.confidence, drift.abstention, drift.moved) == (None, None, False)
    assert compare(Observed("sentiment", (0, 0, 0)), NORMAL) is None


@given(st.lists(sums, min_size=2, max_size=5))
def test_sums_of_parts_are_the_sums_of_the_whole_in_any_order(parts: list[Observed]) -> None:
    forward, backward = parts[0], parts[-1]
    for _, part in pairwise(parts):
        forward += part
    for part in parts[-2::-1]:
        backward += part
    assert forward == backward


def test_heads_do_not_mix() -> None:
    with pytest.raises(ValueError, match="sentiment"):
        Observed("sentiment", (1, 1, 1)) + Observed("topic", (1,) * 20)


def test_predictions_are_summed(tagger: Tagger) -> None:
    tags = [t for t in tagger.tag(TEXTS) if isinstance(t, Tags)]
    whole = observe("sentiment", tags)
    assert whole == observe("sentiment", tags[:2]) + observe("sentiment", tags[2:])
    assert whole.counts == tuple(sum(t.sentiment == s for t in tags) for s in SENTIMENTS)
    assert whole.abstained == sum(t.abstained for t in tags)
    assert whole.confidence == round(sum(max(t.sentiments) for t in tags) * 1e6)
    topics = observe("topic", tags)
    assert topics.counts == tuple(sum(t.topic == s for t in tags) for s in TOPICS)
    assert topics.abstained is None


def test_the_artifact_says_what_is_normal(tagger: Tagger) -> None:
    normal = reference(tagger.config, "sentiment")
    assert normal is not None
    assert normal.shares == tuple(tagger.config.label_shares["sentiment"][s] for s in SENTIMENTS)
    nothing = msgspec.structs.replace(tagger.config, label_shares={})
    assert reference(nothing, "sentiment") is None
    told = msgspec.structs.replace(
        tagger.config, mean_confidence={"topic": 0.9}, abstention_share=0.02
    )
    topic, sentiment = reference(told, "topic"), reference(told, "sentiment")
    assert topic is not None
    assert (topic.confidence, topic.abstention) == (0.9, None)
    assert sentiment is not None
    assert (sentiment.confidence, sentiment.abstention) == (None, 0.02)


def test_the_figures_are_named_as_prometheus_wants_it() -> None:
    drift = compare(observed((0.55, 0.3, 0.15), 500, confidence=0.8e6, abstained=0.1), NORMAL)
    assert drift is not None
    values = metrics(drift)
    assert values['foreshock_label_share_ratio{head="sentiment",label="negative"}'] == 0.55
    assert values['foreshock_drift_moved{head="sentiment",what="labels"}'] == 1.0
    assert values['foreshock_drift_messages{head="sentiment"}'] == 500
    assert values['foreshock_mean_confidence_ratio{head="sentiment"}'] == pytest.approx(0.8)
    assert values['foreshock_abstention_ratio{head="sentiment"}'] == pytest.approx(0.1)
