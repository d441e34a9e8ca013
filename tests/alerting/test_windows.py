from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from alerting.windows import MILLION, Mood, Observation, fold, roll_up

START = datetime(2024, 1, 1, 9, 30, tzinfo=UTC)
BAD = Mood("negative", 0.8, 0.1, 0.1, False)
GOOD = Mood("positive", 0.1, 0.1, 0.8, False)


def seen(name: str = "a", **changes: object) -> Observation:
    base = Observation(
        message_id=name,
        published_at=START,
        source="wire",
        mood=BAD,
        topic="Earnings",
        entities=("AAPL",),
        listing=False,
        repeat=False,
        story=name,
    )
    return msgspec.structs.replace(base, **changes)


def drawn_mood(rng: Random) -> Mood:
    sentiment = rng.choice(["negative", "neutral", "positive"])
    return Mood(sentiment, rng.random(), rng.random(), rng.random(), rng.random() < 0.2)


def drawn(rng: Random, name: str) -> Observation:
    return seen(
        name,
        published_at=START + timedelta(seconds=rng.randint(0, 7200)),
        source=rng.choice("abc"),
        mood=drawn_mood(rng),
        topic=rng.choice(["Earnings", "Macro"]),
        entities=tuple(rng.sample("ABCD", rng.randint(0, 4))),
        listing=rng.random() < 0.2,
        repeat=rng.random() < 0.3,
        by_entity={entity: drawn_mood(rng) for entity in "ABCD" if rng.random() < 0.3},
    )


def observation_lists() -> st.SearchStrategy[list[Observation]]:
    seeds = st.lists(st.integers(0, 2**32), min_size=1, max_size=40)
    return seeds.map(lambda held: [drawn(Random(s), f"m{i}") for i, s in enumerate(held)])


@given(observation_lists(), st.randoms(use_true_random=False))
def test_buckets_do_not_depend_on_the_order_of_arrival(observations, random):
    shuffled = random.sample(observations, len(observations))
    assert fold(shuffled, configuration="c") == fold(observations, configuration="c")


@given(observation_lists())
def test_every_message_is_in_exactly_one_label_and_once_overall(observations):
    minutes = fold(observations, configuration="c")
    buckets = [stats for m in minutes for stats in m.stats.values()]
    for b in buckets:
        assert b.messages == b.negative + b.neutral + b.positive + b.abstained
        assert b.new_negative + b.repeats_negative == b.negative
        assert b.weight_new_negative <= b.weight_new
    assert sum(m.stats["overall"].messages for m in minutes) == len(observations)


@given(observation_lists())
def test_hours_are_the_sums_of_their_minutes_and_the_fold_of_their_messages(observations):
    minutes = fold(observations, configuration="c")
    hours = roll_up(minutes)
    assert sum(h.messages for h in hours if h.key == "overall") == len(observations)
    for hour in hours:
        parts = [m for m in minutes if m.start.replace(minute=0) == hour.start]
        held = [m.stats[hour.key] for m in parts if hour.key in m.stats]
        assert hour.score_sum == sum(b.score_sum for b in held)
        names = {n for m in parts if hour.key in m.stats for n in m.sources[hour.key]}
        assert hour.sources == len(names)


def only(observations: Sequence[Observation]):
    (minute,) = fold(observations, configuration="c")
    return minute


def test_a_message_weighs_one_overall_and_a_share_for_each_of_its_entities():
    minute = only([seen(entities=("A", "B", "C"))])
    assert minute.stats["overall"].weight_new == MILLION
    assert minute.stats["topic:Earnings"].weight_new_negative == MILLION
    assert minute.stats["entity:B"].weight_new_negative == MILLION // 3


def test_a_listing_is_counted_overall_but_weighs_nothing_and_touches_no_entity():
    minute = only([seen(listing=True, entities=("A", "B"))])
    assert set(minute.stats) == {"overall", "topic:Earnings"}
    assert minute.stats["overall"].messages == 1
    assert minute.stats["overall"].weight_new == 0
    assert minute.evidence["overall"] == ()


def test_a_company_counts_the_mood_towards_it_where_it_has_its_own():
    minute = only([seen(mood=BAD, entities=("A", "B", "C"), by_entity={"A": GOOD})])
    assert (minute.stats["entity:A"].positive, minute.stats["entity:A"].negative) == (1, 0)
    assert minute.stats["entity:A"].score_sum > 0 > minute.stats["entity:B"].score_sum
    for key in ("overall", "topic:Earnings", "entity:B", "entity:C"):
        assert minute.stats[key].new_negative == 1


def test_a_repeat_counts_as_amplification_and_not_as_a_new_story():
    stats = only([seen("a"), seen("b", repeat=True)]).stats["entity:AAPL"]
    assert (stats.new_negative, stats.repeats, stats.repeats_negative) == (1, 1, 1)
    assert stats.weight_repeats_negative == MILLION


def test_a_message_that_the_model_abstained_on_is_a_story_without_a_sentiment():
    stats = only([seen(mood=msgspec.structs.replace(BAD, abstained=True))]).stats["overall"]
    assert (stats.abstained, stats.negative, stats.new_negative) == (1, 0, 0)
    assert stats.weight_new == MILLION
    assert stats.weight_new_negative == 0


def test_evidence_names_negative_stories_first_and_the_heaviest_of_them():
    def negative(share: float) -> Mood:
        return msgspec.structs.replace(BAD, negative=share)

    listed = [seen(f"n{i}", mood=negative(i / 10), entities=("A",)) for i in range(8)]
    light = seen("light", entities=("A", "B"), mood=negative(1.0))
    good = seen("good", mood=GOOD, entities=("A",))
    minute = only([good, light, *listed])
    assert [ref.message_id for ref in minute.evidence["entity:A"]] == [
        f"n{i}" for i in (7, 6, 5, 4, 3)
    ]
    assert [ref.message_id for ref in minute.evidence["entity:B"]] == ["light"]


def test_a_bucket_is_provisional_when_any_part_of_it_is():
    early = fold([seen("a")], configuration="c", final=True)
    late = fold(
        [seen("b", published_at=START + timedelta(minutes=1))], configuration="c", final=False
    )
    assert not roll_up([*early, *late])[0].final
