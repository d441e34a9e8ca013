import csv
import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("datasketch", reason="training needs the extra 'train'")

from models.marking import mark
from models.tags import SENTIMENTS
from models.text import MARK_END, MARK_START, MARKS, MarkedText, normalise
from models.training.corpora import (
    SENTFIN_CONFLICTS,
    SENTFIN_ENTITIES,
    Example,
    TrainingDataError,
    load_corpus,
    unlabelled_texts,
)
from models.training.joining import JOINED, joined_in_pairs
from models.training.material import prepare
from models.training.sentfin import headline
from models.training.splitting import Nearness, held_out, near_duplicate_groups, split_corpus

SLICE = Path(__file__).parents[1] / "data" / "training"
TWEETS = (
    "$AAPL beats estimates again",
    "RT @a: $AAPL beats estimates again",
    "$KO pays a dividend",
)


def test_the_slice_is_read_by_the_names_of_its_labels() -> None:
    corpus = load_corpus("open", SLICE)
    found = next(e for e in corpus.examples if e.source == "tfn-sentiment")
    with (SLICE / "twitter_financial_news_sentiment/sent_train.csv").open() as file:
        first = next(iter(csv.DictReader(file)))
    assert found.text == first["text"]
    theirs = ("negative", "positive", "neutral")
    assert SENTIMENTS[found.sentiment] == theirs[int(first["label"])]


def test_decisions_with_quotes_inside_a_name_are_read() -> None:
    title = "Moody's downgrades Tata Steel UK's rating"
    read = headline(title, "{'Tata Steel UK': 'negative', 'Moody's': 'neutral'}")
    assert read.repaired
    named = {d.entity: (d.label, title[d.start : d.end]) for d in read.decisions}
    assert named == {
        "Tata Steel UK": ("negative", "Tata Steel UK"),
        "Moody's": ("neutral", "Moody's"),
    }


def test_a_name_that_the_set_misspelt_is_found_in_its_headline() -> None:
    title = "FTSE Russell adds shares of Avantha Holdings"
    cell = "{'FTSE Rusnegative': 'neutral', 'Avantha neutralings': 'positive'}"
    found = headline(title, cell).decisions
    assert [title[d.start : d.end] for d in found] == ["FTSE Russell", "Avantha Holdings"]


def test_a_name_within_another_word_is_passed_over_for_the_name_itself() -> None:
    title = "ITCold beats ITC"
    (decision,) = headline(title, "{'ITC': 'positive'}").decisions
    assert (decision.start, decision.end) == (13, 16)


def test_every_entity_of_a_headline_is_an_example_of_its_own(data: Path) -> None:
    with (data / "sentfin/SEntFiN.csv").open("a") as file:
        file.write(
            "1,Moody's cuts,{'Moody's': 'neutral'},2\n"
            "2,One up as Two slips,\"{'One': 'positive', 'Two': 'negative', 'Six': 'neutral'}\",1\n"
        )
    before, after = load_corpus("open", SLICE), load_corpus("open", data)
    assert len(after.examples) == len(before.examples)
    added = after.entities[len(before.entities) :]
    assert [(e.text, SENTIMENTS[e.sentiment]) for e in added] == [
        (f"{MARK_START}Moody's{MARK_END} cuts", "neutral"),
        (f"{MARK_START}One{MARK_END} up as Two slips", "positive"),
        (f"One up as {MARK_START}Two{MARK_END} slips", "negative"),
    ]
    reasons = {reason: n - before.left_out.get(reason, 0) for reason, n in after.left_out.items()}
    assert reasons == {
        "sentfin: repaired, used for single entities alone": 1,
        "sentfin: entities disagree, used for single entities alone": 1,
        "sentfin: entities that the headline does not name": 1,
    }


def test_the_open_recipe_opens_open_sets_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    original = Path.open

    def spy(path: Path, *args: object, **kwargs: object) -> object:
        opened.append(path.relative_to(data).parts[0])
        return original(path, *args, **kwargs)  # type: ignore[call-overload]

    for closed in ("financial_phrasebank/fpb_train.csv", "stockemotions/train_stockemo.csv"):
        (data / closed).parent.mkdir()
        (data / closed).write_text("sentence,label,agreement\n")
    monkeypatch.setattr(Path, "open", spy)
    material = prepare("open", data, seed=1)
    assert set(opened) == {
        "twitter_financial_news_sentiment",
        "twitter_financial_news_topic",
        "sentfin",
    }
    assert {e.source for e in material.train} == {
        "tfn-sentiment",
        "tfn-topic",
        "sentfin",
        SENTFIN_ENTITIES,
        SENTFIN_CONFLICTS,
        JOINED,
    }


def test_the_research_recipe_needs_its_sets(data: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"fpb_train\.csv is missing"):
        load_corpus("research", data)


def test_the_research_recipe_reads_unlabelled_news(data: Path) -> None:
    folder = data / "news_headlines_2017_2020"
    folder.mkdir()
    (folder / "reuters_headlines.csv").write_text('2020-01-01,"Oil slides, again"\n')
    (folder / "cnbc_headlines.csv").write_text("date,headlines\n2020-01-01,Gold rises\n")
    assert unlabelled_texts("research", data) == ["Oil slides, again", "Gold rises"]
    assert unlabelled_texts("open", data) == []


def test_missing_or_unfit_data_is_named(data: Path) -> None:
    with pytest.raises(TrainingDataError, match="'closed'"):
        load_corpus("closed", data)
    (data / "sentfin/SEntFiN.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TrainingDataError, match="no column"):
        load_corpus("open", data)
    (data / "twitter_financial_news_sentiment/sent_train.csv").write_text("text,label\nx,9\n")
    with pytest.raises(TrainingDataError, match="label '9'"):
        load_corpus("open", data)


def test_near_duplicates_are_found_under_other_numbers_and_tickers() -> None:
    texts = [
        "$ABC - Alpha declares a quarterly dividend of $0.25 per share https://t.co/a",
        "Oil settles higher as OPEC cuts output",
        "$XYZ - Alpha declares a quarterly dividend of $0.50 per share https://t.co/b",
        "RT @x: Oil settles higher, as OPEC cuts output!",
    ]
    assert sorted(map(sorted, near_duplicate_groups(texts))) == [[0, 2], [1, 3]]


def test_near_duplicates_stay_on_one_side_across_sets() -> None:
    corpus = load_corpus("open", SLICE).examples
    doubled = corpus + [replace(e, text=f"RT @x: {e.text}", source="copy") for e in corpus]
    splits = split_corpus(doubled, seed=3)
    assert sum(map(len, splits.values())) == len(doubled)
    home = {e.text: name for name, part in splits.items() for e in part if e.source != "copy"}
    for name, part in splits.items():
        for e in part:
            if e.source == "copy":
                assert home[e.text.removeprefix("RT @x: ")] == name


def test_a_split_depends_on_its_seed_alone() -> None:
    corpus = load_corpus("open", SLICE).examples
    assert split_corpus(corpus, 1) == split_corpus(corpus, 1)
    assert split_corpus(corpus, 1) != split_corpus(corpus, 2)


def test_nothing_that_trains_is_nearly_a_text_held_back(data: Path) -> None:
    secret = held_out(prepare("open", data, seed=1).splits)
    _write_tweets(data, [*_retweeted(secret), *TWEETS])
    material = prepare("open", data, seed=1)
    near = Nearness(held_out(material.splits) + held_out(material.entities))
    assert material.unlabelled == [TWEETS[0], TWEETS[2]]
    assert not [t for t in material.training_texts if t in near]
    assert not [e for e in material.train if e.text in near]


def test_a_marked_text_stays_with_its_plain_one() -> None:
    material = prepare("open", SLICE, seed=1)
    home = {normalise(e.text): name for name, part in material.splits.items() for e in part}
    for name, part in material.entities.items():
        for example in part:
            assert isinstance(example.text, MarkedText)
            assert home.get(normalise(str(example.text)), name) == name


def test_headlines_joined_in_pairs_keep_the_mark_the_label_and_disagree() -> None:
    marked = [
        Example(mark("Apple gains", 0, 5), "x", sentiment=2),
        Example(mark("Shares of Samsung slip", 10, 17), "x", sentiment=0),
    ]
    for one, pair in zip(marked, joined_in_pairs(marked, seed=1), strict=True):
        assert isinstance(pair.text, MarkedText)
        assert str(one.text) in str(pair.text)
        assert pair.sentiment == one.sentiment
        other = next(e for e in marked if e != one)
        assert MARKS.sub("", other.text) in str(pair.text)
    assert joined_in_pairs(marked[:1], seed=1) == []


def test_corrections_join_what_trains_and_win(data: Path) -> None:
    before = prepare("open", data, seed=1)
    wrong = next(e for e in before.splits["train"] if e.source == "tfn-sentiment")
    secret = before.splits["test"][0]
    label = (wrong.sentiment + 1) % 3
    corrections = [
        Example(f"{wrong.text} https://t.co/other", "corrections", sentiment=label, weight=3.0),
        Example(secret.text, "corrections", sentiment=0, weight=3.0),
        Example("Nobody has said this of zinc before", "corrections", sentiment=2, weight=3.0),
    ]
    after = prepare("open", data, seed=1, corrections=corrections)
    assert [e for e in after.train if e.source == "corrections"] == [
        corrections[0],
        corrections[2],
    ]
    assert wrong not in after.splits["train"]
    assert after.left_out["corrections: nearly a text held back"] == 1
    for name in ("select", "calibrate", "test"):
        assert after.splits[name] == before.splits[name]


def _retweeted(texts: list[str]) -> list[str]:
    return [f"RT @desk: {text} http://t.co/a" for text in texts]


def _write_tweets(data: Path, texts: list[str]) -> None:
    (data / "stocknet").mkdir()
    with gzip.open(data / "stocknet/stocknet_tweets.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(texts))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the slice, to be changed."""
    return Path(shutil.copytree(SLICE, tmp_path / "data"))
