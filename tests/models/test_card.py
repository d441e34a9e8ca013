from pathlib import Path

import pytest

from models.tagger import Tagger
from models.tags import HEADS
from models.training.card import AblationStep, EntityFigures, Measured, Training, model_card
from models.training.corpora import Example, load_corpus

SLICE = Path(__file__).parents[1] / "data" / "training"


@pytest.fixture(scope="module")
def held_out() -> list[Example]:
    examples = load_corpus("open", SLICE).examples
    sources = {e.source for e in examples}
    return [e for s in sorted(sources) for e in [e for e in examples if e.source == s][:20]]


def measured(tagger: Tagger, test: list[Example], **more: object) -> Measured:
    exact = dict(zip(HEADS, tagger.logits([e.text for e in test]), strict=True))
    return Measured({"train": [], "test": test}, {}, [], exact, **more)  # type: ignore[arg-type]


def test_the_card_tells_what_was_measured(tagger: Tagger, held_out: list[Example]) -> None:
    card = model_card(
        tagger,
        measured(
            tagger,
            held_out,
            unlabelled=62_000,
            ablation=[
                AblationStep("plain", {"tfn": 0.854}),
                AblationStep("+ teachers", {"tfn": 0.871, "topic": 0.9}),
            ],
            entities=EntityFigures(120, 260, 0.81, (0.76, 0.85), 0.47, (0.43, 0.51)),
            training=Training(1.25, "two cores", "it was stopped early."),
        ),
    )
    for said in (
        "## By kind of text",
        "| sentiment | sentfin | 20 |",
        "| sentiment: confidence | texts | mean confidence | right |",
        "| retweet prefix | invariance | 10 | 10 | 100% |",
        "| head | texts | heaviest first | at random | difference | better |",
        "62,000 texts without labels",
        "| plain | 0.854 |  |",
        "| + teachers | 0.871 | 0.900 |",
        "120 held-out texts with 260 labelled mentions",
        "| asked for each entity | 0.810 (0.760-0.850) |",
        "1.2 hours on two cores.\n\nOtherwise than the recipe says: it was stopped early.\n",
    ):
        assert said in card
    assert card.index("## Behaviour") < card.index("## Limits")


def test_the_card_leaves_out_what_was_not_measured(tagger: Tagger, held_out: list[Example]) -> None:
    card = model_card(tagger, measured(tagger, held_out))
    for absent in ("each step", "Whose sentiment", "hours on", "without labels", "Out of its"):
        assert absent not in card
