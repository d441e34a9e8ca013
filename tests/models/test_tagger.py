import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artifact import ArtifactError, load_artifact
from models.backends.base import Logits, TokenBatch
from models.serving import padded_length
from models.tagger import Tagger, TaggingError, load_tagger
from models.tags import SENTIMENTS, TOPICS, Tags

HEADLINES = [
    "Apple shares plunge 8% after profit warning",
    "Fed raises interest rates by 25 basis points https://t.co/abc",
    "$TSLA upgraded to buy at Goldman Sachs",
    "Oil settles higher as OPEC cuts output",
    "Company declares quarterly dividend of $0.25 a share",
    "$AAPL $MSFT $GOOG $AMZN $FB watch list for Monday",
    "Judge dismisses antitrust suit against retailer, shares jump in late trading after "
    "months of uncertainty over the case, which had weighed on the whole sector this year",
]

ODD_TEXTS = [
    "",
    " \n\t ",
    "🚀🚀🚀",
    "📉 $GME 💎🙌",
    "أرباح الشركة ترتفع",
    "苹果公司股价下跌",
    "a\x00b\x01c",
    "\ud800\udfff lone surrogates \ud83d",
    "&lt;b&gt;AT&amp;T&lt;/b&gt; &#0; &#xD800; &bogus;",
    "$" * 500,
    "[PAD] [MASK] [CLS] [SEP] [UNK]",
    "[PAD]",
    "x" * 100_000,
    "profit warning " * 7_000,
    "\u202e evil \u200b",
    "https://t.co/only",
]


def test_clear_headlines_get_the_right_tags(tagger: Tagger) -> None:
    found = [(t.sentiment, t.topic) for t in tagged(tagger, HEADLINES[:5])]
    assert found[0] == ("negative", "Stock Movement")
    assert found[1][1] == "Fed | Central Banks"
    assert found[2] == ("positive", "Analyst Update")
    assert found[3][1] == "Energy | Oil"
    assert found[4][1] == "Dividend"


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_no_text_is_lost(tagger: Tagger, text: str) -> None:
    (tags,) = tagged(tagger, [text])
    assert tags.sentiment in SENTIMENTS
    assert tags.topic in TOPICS


@given(st.lists(st.text(st.characters(codec=None)), max_size=4))
@settings(max_examples=40, deadline=None)
def test_any_texts_are_tagged(tagger: Tagger, texts: list[str]) -> None:
    assert len(tagged(tagger, texts)) == len(texts)


def test_a_text_without_words_is_abstained_from(tagger: Tagger) -> None:
    assert all(t.abstained for t in tagged(tagger, ["", "https://t.co/only", "\x00"]))


def test_special_tokens_in_a_text_are_plain_words(tagger: Tagger) -> None:
    alone, hidden = tagged(tagger, ["profit warning", "profit warning [PAD] [PAD]"])
    assert alone.sentiments != hidden.sentiments


def test_probabilities_are_a_rounded_distribution(tagger: Tagger) -> None:
    for tags in tagged(tagger, HEADLINES):
        for values in (tags.sentiments, tags.topics):
            assert sum(values) == pytest.approx(1, abs=2e-5)
            assert values == tuple(round(value, 6) for value in values)
        assert (len(tags.sentiments), len(tags.topics)) == (3, 20)


def test_tags_survive_json_unchanged(tagger: Tagger) -> None:
    for tags in tagged(tagger, HEADLINES):
        assert msgspec.json.decode(msgspec.json.encode(tags), type=Tags) == tags


def test_the_same_text_has_the_same_logits_in_any_company(tagger: Tagger) -> None:
    chance = random.Random(4)
    words = " ".join(HEADLINES).split()
    crowd = [" ".join(chance.choices(words, k=chance.randint(0, 70))) for _ in range(200)]
    alone = [[v.tobytes() for v in tagger.logits([text])] for text in HEADLINES]
    for size in (0, 1, 2, 3, 5, 8, 17, 40, 90, 200):
        texts = HEADLINES + chance.sample(crowd, size)
        order = chance.sample(range(len(texts)), len(texts))
        together = tagger.logits([texts[i] for i in order])
        for i, expected in enumerate(alone):
            row = order.index(i)
            assert [v[row].tobytes() for v in together] == expected


def test_the_same_text_has_the_same_tags_on_any_number_of_threads(tagger: Tagger) -> None:
    single = Tagger(threads=1, cache_size=0)
    assert tagged(single, HEADLINES) == tagged(tagger, HEADLINES)


def test_repeated_texts_are_taken_from_the_cache() -> None:
    tagger = Tagger(cache_size=10)
    retweet = "RT @desk: " + HEADLINES[0]
    tagger.tag([HEADLINES[0], retweet])
    tagger.tag([HEADLINES[0]])
    assert (tagger.cache_misses, tagger.cache_hits) == (1, 2)


def test_the_cache_is_bounded_and_forgets_what_was_used_least() -> None:
    tagger = Tagger(cache_size=2)
    for text in ("one", "two", "one", "three", "one", "two"):
        tagger.tag([text])
    assert (tagger.cache_misses, tagger.cache_hits) == (4, 2)


def test_a_cached_answer_equals_a_fresh_one(tagger: Tagger) -> None:
    assert tagged(tagger, HEADLINES) == tagged(tagger, HEADLINES)
    assert tagged(Tagger(cache_size=0), HEADLINES) == tagged(tagger, HEADLINES)


class FailingBackend:
    """The real back end, except that it fails on batches with a certain token."""

    def __init__(self, tagger: Tagger, token: int) -> None:
        self.real, self.token = tagger.backend, token
        self.numeric_path = self.real.numeric_path
        self.tokens_per_batch = self.real.tokens_per_batch
        self.texts_per_round = self.real.texts_per_round

    def logits(self, batches: Iterable[TokenBatch]) -> Iterator[Logits]:
        for batch in batches:
            if (batch == self.token).any():
                raise RuntimeError("out of order")
            yield from self.real.logits([batch])


def test_a_text_that_makes_the_model_fail_costs_only_itself() -> None:
    tagger = Tagger(cache_size=100)
    expected = tagged(tagger, HEADLINES[1:])
    bad = load_artifact().tokenizer.encode("plunge").ids[1]
    failing = Tagger(cache_size=100)
    failing.models["sentiment"].backend = FailingBackend(failing, bad)
    first, *others = failing.tag(HEADLINES)
    assert isinstance(first, TaggingError)
    assert "out of order" in str(first)
    assert others == expected


def test_a_failure_is_not_cached() -> None:
    tagger = Tagger()
    model = tagger.models["sentiment"]
    real, model.backend = model.backend, FailingBackend(tagger, 101)
    assert isinstance(tagger.tag(["oil"])[0], TaggingError)
    model.backend = real
    assert isinstance(tagger.tag(["oil"])[0], Tags)


def test_a_process_loads_a_model_once(tagger: Tagger) -> None:
    assert load_tagger() is tagger


def test_a_missing_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="install the model again"):
        load_tagger(tmp_path / "nowhere")


def test_padded_lengths_hold_every_text_and_waste_little() -> None:
    for tokens in range(1, 97):
        length = padded_length(tokens, 96)
        assert tokens <= length <= max(8, tokens + 15)


def tagged(tagger: Tagger, texts: list[str]) -> list[Tags]:
    results = tagger.tag(texts)
    assert [r for r in results if isinstance(r, TaggingError)] == []
    return [r for r in results if isinstance(r, Tags)]
