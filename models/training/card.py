"""The model card: what the artifact learned from, and what it reached, as Markdown."""

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.artifact import ArtifactConfig
from models.behaviour import PassRate, pass_rates
from models.calibration import softmax
from models.deletion import deletion_test
from models.evaluation import Evaluation
from models.evaluation.slicing import SLICES
from models.tagger import Tagger
from models.tags import HEADS, Tags
from models.training.corpora import UNLABELLED, Example
from models.training.measuring import Figures, measure

SOURCES = {
    "tfn-sentiment": ("Twitter Financial News, sentiment", "MIT", "sentiment"),
    "sentfin": ("SEntFiN 1.0, headlines whose entities agree", "MIT", "sentiment"),
    "phrasebank": ("Financial PhraseBank 1.0", "CC BY-NC-SA 3.0", "sentiment"),
    "tfn-topic": ("Twitter Financial News, topic", "MIT", "topic"),
}


DELETION_TEXTS = 300
"""Texts of each head on which the deletion test is made: each is read some forty times."""


WEAK = 0.6
"""A group of behaviour tests that is passed by a smaller share is named among the limits."""


@dataclass(frozen=True)
class AblationStep:
    """One step of the recipe, and the accuracy by set that it left (on the select split)."""

    name: str
    accuracies: dict[str, float]


@dataclass(frozen=True)
class EntityFigures:
    """Sentiment of each entity against that of the whole text, where a text's labels conflict.

    Both are shares of `mentions` (text, entity) that were right, over the same `texts`; intervals
    are 95 %.
    """

    texts: int
    mentions: int
    entity_accuracy: float
    entity_interval: tuple[float, float]
    text_accuracy: float
    text_interval: tuple[float, float]


@dataclass(frozen=True)
class Training:
    """What the training took: hours of wall time, and the machine in words.

    `departures`: in sentences, where it was done otherwise than the recipe says.
    """

    hours: float
    machine: str
    departures: str = ""


@dataclass(frozen=True)
class Measured:
    """What the card is made from. `exact`: logits in full precision of the test split, by head.

    `unlabelled`: texts without labels that the encoder read. What was not measured is left empty,
    and its section out.
    """

    splits: dict[str, list[Example]]
    left_out: dict[str, int]
    out_of_domain: list[Example]
    exact: dict[str, NDArray[np.float32]]
    unlabelled: int = 0
    ablation: list[AblationStep] = field(default_factory=list)
    entities: EntityFigures | None = None
    training: Training | None = None


def model_card(tagger: Tagger, measured: Measured) -> str:
    """Measures the test split through `tagger` and writes everything down."""
    config, test = tagger.config, measured.splits["test"]
    assert isinstance(config, ArtifactConfig)
    of_source = {
        source: measure([e for e in test if e.source == source], head, tagger)
        for source, (_, _, head) in SOURCES.items()
        if any(e.source == source for e in test)
    }
    of_head = {head: measure(test, head, tagger) for head in HEADS}
    rates = pass_rates(tagger)
    parts = [
        _introduction(config, tagger),
        _data(measured),
        "## Quality on the held-out test split\n",
        _quality({SOURCES[source][0]: figures for source, figures in of_source.items()}),
    ]
    if measured.out_of_domain:
        name = f"{SOURCES['phrasebank'][0]} (never trained on)"
        figures = measure(measured.out_of_domain, "sentiment", tagger)
        parts += ["### Out of its domain\n", _quality({name: figures})]
    if measured.entities:
        parts.append(_entities(measured.entities))
    parts += [
        _slices(of_head),
        _calibration(config, of_head, test, tagger),
        _behaviour(rates),
        _deletion(test, tagger),
        _rounding(measured, tagger),
    ]
    if measured.ablation:
        parts.append(_ablation(measured.ablation))
    if measured.training:
        parts.append(_training(measured.training))
    parts += [_by_class(SOURCES[source][0], f.evaluation) for source, f in of_source.items()]
    parts.append(_limits(config, rates))
    return "\n".join(parts)


def _introduction(config: ArtifactConfig, tagger: Tagger) -> str:
    return f"""# {config.name} {config.version}

Tags English financial news and tweets with one of 3 sentiments, from an investor's side, and one
of 20 topics. It is all-MiniLM-L6-v2 (Apache 2.0; {config.architecture.layers} layers, width \
{config.architecture.width}), fine-tuned with two heads over mean-pooled
states by the recipe `{config.recipe}` of this repository (`foreshock train --recipe \
{config.recipe}`), and stored as int8.
The files are licensed Apache 2.0 like the rest of the repository.

All figures: `{tagger.identity.numeric_path}` on {_processor()}, {os.cpu_count()} cores, Python \
{platform.python_version()},
with the int8 weights that ship. Intervals: 95 %, bootstrap over texts.
"""


def _data(measured: Measured) -> str:
    names = list(measured.splits)
    rows = []
    for source, (title, licence, head) in SOURCES.items():
        counts = [sum(e.source == source for e in measured.splits[n]) for n in names]
        if any(counts):
            rows.append([title, licence, head, *map(str, counts)])
    left_out = "; ".join(f"{reason}: {n}" for reason, n in measured.left_out.items())
    read = (
        f"{measured.unlabelled:,} texts without labels took part, to guess hidden words in, or for "
        "the teachers to answer.\n"
    )
    return f"""## Data

{_table(["set", "licence", "head", *names], rows)}

Near-duplicates (MinHash, numbers and tickers masked) were grouped across all sets before the
split; a group stays on one side. `select` chose the epoch and the activation ranges, `calibrate`
the temperatures; `test` was used for this card alone.
{read if measured.unlabelled else ""}Rows left out: {left_out or "none"}.
"""


def _quality(figures: dict[str, Figures]) -> str:
    rows = [
        [
            name,
            str(f.evaluation.n),
            f"{f.evaluation.accuracy:.3f} ({_interval(f.evaluation.accuracy_interval)})",
            f"{f.evaluation.macro_f1:.3f} ({_interval(f.evaluation.macro_f1_interval)})",
            f"{f.uncalibrated_ece:.3f}",
            f"{f.evaluation.ece:.3f}",
        ]
        for name, f in figures.items()
    ]
    columns = ["set", "texts", "accuracy", "macro-F1", "ECE before", "ECE calibrated"]
    return _table(columns, rows) + "\n"


def _slices(of_head: dict[str, Figures]) -> str:
    rows = [
        [
            head,
            f"{name} ({SLICES[name]})" if name in SLICES else name,
            str(f.n),
            f"{f.accuracy:.3f} ({_interval(f.accuracy_interval)})",
            f"{f.macro_f1:.3f}",
            f"{f.ece:.3f}",
        ]
        for head, figures in of_head.items()
        for name, f in figures.evaluation.slices.items()
    ]
    return f"""## By kind of text

Words are counted in what the model reads: without links and retweet prefixes.

{_table(["head", "texts of the test split", "n", "accuracy", "macro-F1", "ECE"], rows)}
"""


def _calibration(
    config: ArtifactConfig, of_head: dict[str, Figures], test: list[Example], tagger: Tagger
) -> str:
    kept = [
        t.sentiment == HEADS["sentiment"][e.sentiment]
        for e, t in zip(test, tagger.tag([e.text for e in test]), strict=True)
        if e.sentiment >= 0 and isinstance(t, Tags) and not t.abstained
    ]
    abstained = 1 - len(kept) / of_head["sentiment"].evaluation.n
    temperatures = ", ".join(f"{h} {t:.3f}" for h, t in config.temperatures.items())
    curves = "\n".join(_curve(head, f.evaluation) for head, f in of_head.items())
    return f"""## Calibration

One temperature for each head ({temperatures}); ECE over 15 equal-width bins:

{_quality({f"all texts of head {head}": f for head, f in of_head.items()})}
{curves}
The model abstains (`abstained`) where its highest sentiment probability is below \
{config.abstention_threshold}:
more likely wrong than right. That takes {abstained:.1%} of the test texts; of the others
{sum(kept) / max(1, len(kept)):.1%} are right.
"""


def _curve(head: str, evaluation: Evaluation) -> str:
    rows = [
        [f"{b.low:.2f}-{b.high:.2f}", str(b.count), f"{b.confidence:.3f}", f"{b.accuracy:.3f}"]
        for b in evaluation.calibration
        if b.count
    ]
    return _table([f"{head}: confidence", "texts", "mean confidence", "right"], rows) + "\n"


def _behaviour(rates: list[PassRate]) -> str:
    rows = [[r.group, r.kind, str(r.cases), str(r.passed), f"{r.rate:.0%}"] for r in rates]
    passed, cases = sum(r.passed for r in rates), sum(r.cases for r in rates)
    rows.append(["in all", "", str(cases), str(passed), f"{passed / cases:.0%}"])
    return f"""## Behaviour

Short texts written for this (CheckList, Ribeiro et al. 2020), before any model was asked, and not
chosen by what a model can do. `label`: the sentiment that a reader would give; `invariance`: a
change that must not move it; `direction`: a change that must not make the expected sentiment less
likely. `python -m models.behaviour --failures` shows the cases.

{_table(["group", "kind", "cases", "passed", "rate"], rows)}
"""


def _deletion(test: list[Example], tagger: Tagger) -> str:
    rows = []
    for head in HEADS:
        texts = [e.text for e in test if getattr(e, head) != UNLABELLED][:DELETION_TEXTS]
        f = deletion_test(texts, tagger, head)
        rows.append(
            [
                head,
                str(f.texts),
                f"{f.by_weight:.3f}",
                f"{f.at_random:.3f}",
                f"{f.gain:.3f} ({_interval(f.gain_interval)})",
                f"{f.better:.0%}",
            ]
        )
    columns = ["head", "texts", "heaviest first", "at random", "difference", "better"]
    return f"""## Explanation

Area under the deletion curve: the share that is left of the label's probability, over the share of
words taken out. The lower it is when the heaviest words go first, the more these words carry.

{_table(columns, rows)}
"""


def _rounding(measured: Measured, tagger: Tagger) -> str:
    test = measured.splits["test"]
    rows = []
    for i, head in enumerate(HEADS):
        exact, rounded = measured.exact[head], tagger.logits([e.text for e in test])[i]
        labelled = np.array([getattr(e, head) >= 0 for e in test])
        right = np.array([getattr(e, head) for e in test])[labelled]
        scale = tagger.config.temperatures[head]
        difference = np.abs(softmax(exact, scale) - softmax(rounded, scale)).max(axis=1)
        rows.append(
            [
                head,
                f"{(exact[labelled].argmax(1) == right).mean():.4f}",
                f"{(rounded[labelled].argmax(1) == right).mean():.4f}",
                f"{(exact.argmax(1) == rounded.argmax(1)).mean():.4f}",
                f"{np.quantile(difference, 0.99):.4f}",
            ]
        )
    columns = ["head", "accuracy fp32", "accuracy int8", "equal labels", "99 % differ by at most"]
    return "## int8 against full precision\n\n" + _table(columns, rows) + "\n"


def _by_class(title: str, evaluation: Evaluation) -> str:
    rows = [
        [label, f"{f.precision:.3f}", f"{f.recall:.3f}", f"{f.f1:.3f}", str(f.support)]
        for label, f in evaluation.per_class.items()
    ]
    short = [f"{i + 1}" for i in range(len(evaluation.labels))]
    confusion = [
        [f"{i + 1} {label}", *map(str, counts)]
        for i, (label, counts) in enumerate(
            zip(evaluation.labels, evaluation.confusion, strict=True)
        )
    ]
    return f"""## {title}, by class

{_table(["label", "precision", "recall", "F1", "texts"], rows)}

Confusion (rows: truth, columns: prediction)

{_table(["", *short], confusion)}
"""


def _entities(figures: EntityFigures) -> str:
    rows = [
        [name, f"{accuracy:.3f} ({_interval(interval)})"]
        for name, accuracy, interval in (
            ("asked for each entity", figures.entity_accuracy, figures.entity_interval),
            ("asked once for the text", figures.text_accuracy, figures.text_interval),
        )
    ]
    return f"""## Whose sentiment: texts whose entities fare differently

{figures.texts} held-out texts with {figures.mentions} labelled mentions; right is an answer that is
the mention's own label.

{_table(["the model", "accuracy"], rows)}
"""


def _ablation(steps: list[AblationStep]) -> str:
    sets = list(dict.fromkeys(name for step in steps for name in step.accuracies))
    rows = [
        [step.name, *(f"{step.accuracies[s]:.3f}" if s in step.accuracies else "" for s in sets)]
        for step in steps
    ]
    return f"""## What each step of the recipe brings

Accuracy on the split that selects, after each step.

{_table(["step", *sets], rows)}
"""


def _training(training: Training) -> str:
    otherwise = f"\nOtherwise than the recipe says: {training.departures}\n"
    return f"""## Training

{training.hours:.1f} hours on {training.machine}.
{otherwise if training.departures else ""}"""


def _limits(config: ArtifactConfig, rates: list[PassRate]) -> str:
    weak = [f"{r.group} ({r.rate:.0%})" for r in rates if r.rate < WEAK]
    behaviour = f"- Read badly, by the cases above: {'; '.join(weak)}.\n" if weak else ""
    unless = ", unless one is marked (`models.marking`)" if config.marks_entities else ""
    return f"""## Limits

- English only. Other languages get tags, without meaning.
- {config.architecture.max_tokens} tokens are read: the head of a long text, not the whole.
- One sentiment for a text: where companies fare differently in it, no one's in
  particular{unless}.
- It learned from tweets of financial news and from headlines of Indian business papers. In other
  company, above all the sentences of company reports, it is weaker and less well calibrated.
{behaviour}- Jokes, sarcasm and lists of cashtags are hardly found in the sets: distrust their tags.
- Not advice: a tag is a reading of a text, not of a company.
"""


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.3f}-{ends[1]:.3f}"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(columns), line(["---"] * len(columns)), *map(line, rows)])


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
