"""From the trained network to the artifact's files, calibrated through the back end that serves."""

import hashlib
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save
from tokenizers import Tokenizer

from models.artifact import CONFIG, TOKENIZER, WEIGHTS, ArtifactConfig
from models.calibration import fit_temperature
from models.tagger import Tagger
from models.tags import HEADS, Tags
from models.text import NORMALISATION_VERSION
from models.training.corpora import UNLABELLED, Example
from models.training.material import Material
from models.training.measuring import labelled_logits
from models.training.network import Network
from models.training.quantising import integer_tensors

VERSION = "1.1.0"
ABSTAIN_BELOW = 0.5
"""Calibrated confidence in the sentiment below which a label is more likely wrong than right."""


def pack(
    folder: Path, network: Network, tokenizer: Tokenizer, recipe: str, material: Material
) -> Tagger:
    """Writes the artifact of a rounded network into `folder` and returns it, loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors, activations = integer_tensors(network)
    (folder / WEIGHTS).write_bytes(save(tensors))
    tokenizer.save(str(folder / TOKENIZER))
    draft = ArtifactConfig(
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
        label_shares={head: _shares(material.splits["train"], head) for head in HEADS},
        marks_entities=bool(material.entities["train"]),
        checksums={
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in (WEIGHTS, TOKENIZER)
        },
    )
    _write_config(folder, draft)
    held_back = material.splits["calibrate"]
    temperatures = _temperatures(Tagger(folder), held_back)
    calibrated = msgspec.structs.replace(draft, temperatures=temperatures)
    _write_config(folder, calibrated)
    _write_config(folder, _with_usual_answers(calibrated, Tagger(folder), held_back))
    return Tagger(folder)


def _with_usual_answers(
    config: ArtifactConfig, tagger: Tagger, examples: list[Example]
) -> ArtifactConfig:
    """How sure the model is, and how often it abstains, on texts like those it learned."""
    tags = [t for t in tagger.tag([e.text for e in examples]) if isinstance(t, Tags)]
    chances = {"sentiment": [t.sentiments for t in tags], "topic": [t.topics for t in tags]}
    return msgspec.structs.replace(
        config,
        mean_confidence={
            head: round(float(np.max(rows, axis=1).mean()), 4) for head, rows in chances.items()
        },
        abstention_share=round(sum(t.abstained for t in tags) / len(tags), 4),
    )


def _write_config(folder: Path, config: ArtifactConfig) -> None:
    (folder / CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2))


def _shares(examples: list[Example], head: str) -> dict[str, float]:
    counts = Counter(getattr(e, head) for e in examples if getattr(e, head) != UNLABELLED)
    return {
        label: round(counts[i] / max(1, counts.total()), 6) for i, label in enumerate(HEADS[head])
    }


def _temperatures(tagger: Tagger, examples: list[Example]) -> dict[str, float]:
    return {
        head: round(fit_temperature(*labelled_logits(tagger, examples, head)), 4) for head in HEADS
    }
