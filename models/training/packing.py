"""From the trained network to the artifact's files, calibrated through the back end that serves."""

import hashlib
from collections import Counter
from pathlib import Path

import msgspec
from safetensors.numpy import save
from tokenizers import Tokenizer

from models.artifact import CONFIG, TOKENIZER, WEIGHTS, ArtifactConfig
from models.calibration import fit_temperature
from models.tagger import Tagger
from models.tags import HEADS
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
    temperatures = _temperatures(Tagger(folder), material.splits["calibrate"])
    _write_config(folder, msgspec.structs.replace(draft, temperatures=temperatures))
    return Tagger(folder)


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
