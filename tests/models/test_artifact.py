import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.artifact import (
    CARD,
    CONFIG,
    DEFAULT_ARTIFACT,
    TOKENIZER,
    WEIGHTS,
    ArtifactError,
    load_artifact,
)
from models.tags import HEADS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped model, to be damaged."""
    return Path(shutil.copytree(DEFAULT_ARTIFACT, tmp_path / "model"))


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    config = msgspec.json.decode((folder / CONFIG).read_bytes())
    change(config)
    (folder / CONFIG).write_bytes(msgspec.json.encode(config))


def test_the_shipped_model_is_whole_and_small() -> None:
    artifact = load_artifact()
    assert artifact.config.recipe == "open"
    assert {p.name for p in DEFAULT_ARTIFACT.iterdir()} == {WEIGHTS, TOKENIZER, CONFIG, CARD}
    assert sum(p.stat().st_size for p in DEFAULT_ARTIFACT.iterdir()) < 24 * 2**20
    assert [list(labels.values()) for labels in artifact.config.id2label.values()] == [
        list(labels) for labels in HEADS.values()
    ]
    for shares in artifact.config.label_shares.values():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER, CONFIG])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} cannot be read"):
        load_artifact(folder)


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_file_is_refused(folder: Path, name: str, damage: str) -> None:
    content = bytearray((folder / name).read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    (folder / name).write_bytes(
        {"flip": bytes(content), "truncate": bytes(content[:-100]), "empty": b""}[damage]
    )
    with pytest.raises(ArtifactError, match="is damaged"):
        load_artifact(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 1}'])
def test_an_unreadable_configuration_is_refused(folder: Path, content: bytes) -> None:
    (folder / CONFIG).write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_artifact(folder)


def test_a_wrong_checksum_is_refused(folder: Path) -> None:
    changed(folder, lambda c: c["checksums"].update({WEIGHTS: "0" * 64}))
    with pytest.raises(ArtifactError, match="is damaged"):
        load_artifact(folder)


def test_an_unnamed_checksum_is_refused(folder: Path) -> None:
    changed(folder, lambda c: c.update(checksums={}))
    with pytest.raises(ArtifactError, match="is damaged"):
        load_artifact(folder)


@pytest.mark.parametrize("field", ["format", "normalisation_version"])
def test_another_version_is_refused(folder: Path, field: str) -> None:
    changed(folder, lambda c: c.update({field: 99}))
    with pytest.raises(ArtifactError, match="99"):
        load_artifact(folder)


def test_an_unknown_head_is_refused(folder: Path) -> None:
    changed(folder, lambda c: c["id2label"].update(emotion={"0": "joy"}))
    with pytest.raises(ArtifactError, match="'emotion'"):
        load_artifact(folder)


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "negative", "1": "neutral", "2": "bullish"},
        {"0": "negative", "1": "neutral"},
        {"0": "negative", "1": "neutral", "2": "neutral", "3": "positive"},
        {"0": "negative", "1": "neutral", "7": "positive"},
        {},
    ],
)
def test_labels_that_do_not_map_are_refused(folder: Path, labels: dict[str, str]) -> None:
    changed(folder, lambda c: c["id2label"].update(sentiment=labels))
    with pytest.raises(ArtifactError, match=r"'sentiment'.*do not map"):
        load_artifact(folder)


def test_labels_in_another_order_are_mapped_by_name(folder: Path) -> None:
    order = {"0": "positive", "1": "negative", "2": "neutral"}
    changed(folder, lambda c: c["id2label"].update(sentiment=order))
    turned, shipped = load_artifact(folder), load_artifact()
    rows = shipped.tensors["heads.sentiment.weight"][[1, 2, 0]]
    assert np.array_equal(turned.tensors["heads.sentiment.weight"], rows)


@pytest.mark.parametrize("temperatures", [{}, {"sentiment": 1.0}, {"sentiment": 0, "topic": 1}])
def test_a_head_without_temperature_is_refused(
    folder: Path, temperatures: dict[str, float]
) -> None:
    changed(folder, lambda c: c.update(temperatures=temperatures))
    with pytest.raises(ArtifactError, match="no positive temperature"):
        load_artifact(folder)


def test_a_layer_without_activation_grid_is_refused(folder: Path) -> None:
    changed(folder, lambda c: c["activations"].pop("layers.3.dense_in"))
    with pytest.raises(ArtifactError, match=r"layers\.3\.dense_in"):
        load_artifact(folder)


@pytest.mark.parametrize("broken", ["missing", "shape", "type"])
def test_tensors_that_do_not_fit_are_refused(folder: Path, broken: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    norm = tensors.pop("norm.bias")
    if broken != "missing":
        tensors["norm.bias"] = norm[:-1] if broken == "shape" else norm.astype(np.float64)
    save_file(tensors, folder / WEIGHTS)
    rewrite_checksum(folder)
    with pytest.raises(ArtifactError, match=r"Tensor norm\.bias"):
        load_artifact(folder)


def test_any_change_of_the_configuration_changes_the_identity(folder: Path) -> None:
    changed(folder, lambda c: c.update(abstention_threshold=0.123))
    assert load_artifact(folder).checksum != load_artifact().checksum


def rewrite_checksum(folder: Path) -> None:
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    changed(folder, lambda c: c["checksums"].update({WEIGHTS: digest}))
