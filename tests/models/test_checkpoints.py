import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="exporting needs the extra 'checkpoints'")
pytest.importorskip("transformers", reason="exporting needs the extra 'checkpoints'")

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from models.artifact import DEFAULT_ARTIFACT
from models.checkpoints.cache import cache_folder
from models.checkpoints.checkpoint import CheckpointError, map_labels, read_checkpoint
from models.marking import mark
from models.tagger import Tagger, load_tagger
from models.tags import SENTIMENTS, TOPICS, Tags
from models.text import normalise
from tests.models.checkpoints import ARCHITECTURES, change_json, make_checkpoint
from tests.models.test_tagger import HEADLINES, ODD_TEXTS, tagged
from tests.models.texts import training_texts


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of exports of this module's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORESHOCK_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each architecture."""
    folder = tmp_path_factory.mktemp("made")
    return {name: make_checkpoint(folder / name, name) for name in (*ARCHITECTURES, "bert-wide")}


@pytest.fixture
def bert(made: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a checkpoint, to be changed."""
    return Path(shutil.copytree(made["bert"], tmp_path / "bert"))


def on_cpu(model: Path = DEFAULT_ARTIFACT, **options: Path) -> Tagger:
    return Tagger(model, device="cpu", cache_size=0, threads=1, **options)


@cache
def shared(folder: Path) -> Tagger:
    """Loaded once for all tests that change neither the folder nor the tagger."""
    return on_cpu(folder)


def transformers_logits(folder: Path, texts: list[str]) -> np.ndarray:
    """What transformers itself says, text by text, in the order of our labels."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    order = [
        {str(name).lower(): i for i, name in model.config.id2label.items()}[label.lower()]
        for label in SENTIMENTS
    ]
    with torch.inference_mode():
        rows = [
            model(
                **tokenizer(normalise(text), return_tensors="pt", truncation=True, max_length=40)
            ).logits[0, order]
            for text in texts
        ]
    return torch.stack(rows).numpy()


def assert_equal_but_for_rounding(found: np.ndarray, expected: np.ndarray) -> None:
    """Measured by the largest logit: each processor sums its float32 products in its own order."""
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_transformers(made: dict[str, Path], architecture: str) -> None:
    texts = [*HEADLINES, *training_texts()[:20], "oil " * 100]
    expected = transformers_logits(made[architecture], texts)
    (found, _) = shared(made[architecture]).logits(texts)
    assert np.abs(expected).max() > 0.1
    assert_equal_but_for_rounding(found, expected)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "bert-wide"])
def test_tags_do_not_depend_on_company(made: dict[str, Path], architecture: str) -> None:
    tagger = shared(made[architecture])
    together = tagged(tagger, [*training_texts()[:40], *HEADLINES])[40:]
    assert together == [tags for text in HEADLINES for tags in tagged(tagger, [text])]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_text_is_lost(made: dict[str, Path], architecture: str) -> None:
    assert len(tagged(shared(made[architecture]), ODD_TEXTS)) == len(ODD_TEXTS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pytorch_computes_the_same(made: dict[str, Path], architecture: str) -> None:
    """The way of a checkpoint to a GPU, run on the CPU."""
    from models.backends.pytorch import PyTorchBackend
    from models.checkpoints.network import load_network

    tagger = on_cpu(made[architecture])
    expected, _ = tagger.logits(HEADLINES)
    network, longest = load_network(read_checkpoint(made[architecture]))
    assert longest == tagger.models["sentiment"].max_tokens
    tagger.models["sentiment"].backend = PyTorchBackend(network, "cpu", "f32", 128)
    found, _ = tagger.logits(HEADLINES)
    assert_equal_but_for_rounding(found, expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_marks_of_mentions_are_not_seen(made: dict[str, Path], architecture: str) -> None:
    tagger, text = shared(made[architecture]), HEADLINES[0]
    marked, plain = tagged(tagger, [mark(text, 0, 5)]), tagged(tagger, [text])
    assert [t.sentiments for t in marked] == [t.sentiments for t in plain]
    assert not tagger.config.marks_entities


def test_a_head_that_is_not_given_comes_from_the_model_that_ships(bert: Path) -> None:
    ours, theirs = tagged(on_cpu(), HEADLINES), tagged(on_cpu(bert), HEADLINES)
    assert [t.topics for t in theirs] == [t.topics for t in ours]
    assert [t.sentiments for t in theirs] != [t.sentiments for t in ours]


def test_the_identity_names_both_models(bert: Path) -> None:
    shipped, mixed = on_cpu(), on_cpu(bert)
    assert mixed.identity.name == f"bert+{shipped.identity.name}"
    assert mixed.identity.version.startswith(read_checkpoint(bert).checksum[:12])
    assert mixed.identity.checksum != shipped.identity.checksum
    assert "/f32/" in mixed.identity.numeric_path
    assert "/int8/" in mixed.identity.numeric_path


def test_each_head_may_have_its_own_folder(bert: Path, tmp_path: Path) -> None:
    topics = make_checkpoint(tmp_path / "topics", labels=TOPICS[::-1])
    both = on_cpu(sentiment_model=bert, topic_model=topics)
    assert tagged(both, HEADLINES)[0].topics == tagged(on_cpu(topics), HEADLINES)[0].topics
    assert tagged(both, HEADLINES)[0].sentiments == tagged(on_cpu(bert), HEADLINES)[0].sentiments


def test_one_folder_may_serve_both_heads(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "both", labels=[*TOPICS, "bullish", "neutral", "bearish"])
    tagger = on_cpu(folder)
    assert tagger.models["sentiment"] is tagger.models["topic"]
    assert all(sum(t.sentiments) == pytest.approx(1, abs=1e-5) for t in tagged(tagger, HEADLINES))


def test_a_folder_named_for_a_head_that_it_lacks_is_refused(bert: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tag\.topic_model is .* knows sentiment alone"):
        on_cpu(topic_model=bert)


def test_a_folder_may_bring_its_calibration(bert: Path) -> None:
    plain = tagged(on_cpu(bert), HEADLINES)
    note = {"temperatures": {"sentiment": 100.0}, "abstention_threshold": 0.9}
    (bert / "foreshock.json").write_text(json.dumps(note))
    flat = tagged(on_cpu(bert), HEADLINES)
    assert max(max(t.sentiments) for t in flat) < max(max(t.sentiments) for t in plain)
    assert all(t.abstained for t in flat)
    assert flat[0].model.checksum != plain[0].model.checksum


@pytest.mark.parametrize(
    "note", ['{"temperatures": {"sentiment": 0}}', '{"temperatures": {"mood": 1}}', '{"t": 1}', "{"]
)
def test_a_calibration_that_means_nothing_is_refused(bert: Path, note: str) -> None:
    (bert / "foreshock.json").write_text(note)
    with pytest.raises(CheckpointError, match=r"foreshock\.json"):
        read_checkpoint(bert)


def test_labels_are_mapped_by_their_names() -> None:
    labels = {"0": "Bullish", "1": "NEUTRAL", "2": "bearish"}
    assert map_labels(Path("m"), labels) == {"sentiment": (2, 1, 0)}
    topics = {str(i): name.replace(" | ", "_").lower() for i, name in enumerate(TOPICS[::-1])}
    assert map_labels(Path("m"), topics) == {"topic": tuple(range(19, -1, -1))}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, "'LABEL_0', which means nothing"),
        ({"0": "negative", "1": "positive"}, "lacks 'neutral' of the head 'sentiment'"),
        ({"0": "negative", "1": "bearish", "2": "positive"}, "names 'negative' twice"),
        ({"0": "negative", "1": "neutral", "2": "positive", "3": "mixed"}, "'mixed', which is no"),
        ({"1": "negative", "2": "neutral", "3": "positive"}, "does not count its labels from 0"),
        ({}, "is missing"),
        (None, "is missing"),
    ],
)
def test_labels_that_do_not_map_are_refused(labels: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        map_labels(Path("model"), labels)


def test_pickled_weights_are_refused(bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is pickled"):
        Tagger(bert)


def test_a_folder_without_weights_is_refused(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        Tagger(bert)


def test_a_models_own_code_is_refused(bert: Path) -> None:
    change_json(bert / "config.json", auto_map={"AutoConfig": "evil.Config"})
    with pytest.raises(CheckpointError, match="brings its own code"):
        Tagger(bert)


def test_a_model_that_classifies_nothing_is_refused(bert: Path) -> None:
    change_json(bert / "config.json", architectures=["BertForMaskedLM"])
    with pytest.raises(CheckpointError, match=r"only \.\.\.ForSequenceClassification"):
        Tagger(bert)


@pytest.mark.parametrize("content", [None, b"{"])
def test_a_missing_or_damaged_tokenizer_is_refused(bert: Path, content: bytes | None) -> None:
    (bert / "tokenizer.json").unlink()
    if content is not None:
        (bert / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tagger(bert)


def test_truncated_weights_are_refused(bert: Path) -> None:
    weights = bert / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        on_cpu(bert)


def test_a_classifier_that_was_never_trained_is_refused(bert: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(bert / "model.safetensors")
    kept = {k: v for k, v in weights.items() if not k.startswith("classifier")}
    save_file(kept, bert / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="would be random"):
        on_cpu(bert)


def test_an_export_is_kept_and_needs_pytorch_no_more(bert: Path) -> None:
    expected = tagged(on_cpu(bert), HEADLINES)
    assert in_a_process_without_pytorch(bert) == [list(t.sentiments) for t in expected]


def test_a_first_use_without_pytorch_says_what_to_install(bert: Path, tmp_path: Path) -> None:
    change_json(bert / "config.json", another="model")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        in_a_process_without_pytorch(bert)
    assert "needs the package torch: pip install 'foreshock[checkpoints]'" in failed.value.stderr


def test_a_damaged_export_is_made_again(bert: Path) -> None:
    expected = tagged(on_cpu(bert), HEADLINES)
    export = kept_export(bert)
    (export / "model.bin").write_bytes(b"")
    assert tagged(on_cpu(bert), HEADLINES) == expected
    assert (export / "model.bin").stat().st_size > 0


def test_other_weights_have_another_export(bert: Path) -> None:
    before = kept_export(bert)
    change_json(bert / "config.json", layer_norm_eps=1e-3)
    assert kept_export(bert) != before


def test_two_processes_may_export_at_once(bert: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "FORESHOCK_CACHE": str(tmp_path / "cache")}
    running = [
        subprocess.Popen([sys.executable, "-c", LOAD, str(bert)], env=environment) for _ in range(2)
    ]
    assert [process.wait(300) for process in running] == [0, 0]
    (kept,) = (tmp_path / "cache" / "checkpoints").iterdir()
    assert {p.name for p in kept.iterdir()} == {"model.xml", "model.bin", "export.json"}


def test_an_export_that_was_killed_is_made_again(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache" / "checkpoints"
    monkeypatch.setenv("FORESHOCK_CACHE", str(tmp_path / "cache"))
    process = subprocess.Popen([sys.executable, "-c", LOAD, str(bert)])
    deadline = time.monotonic() + 300
    while not list(folder.glob(".unfinished-*")) and time.monotonic() < deadline:
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    (left,) = folder.iterdir()
    os.utime(left, (0, 0))
    assert len(tagged(on_cpu(bert), HEADLINES)) == len(HEADLINES)
    (kept,) = folder.iterdir()
    assert kept.name.startswith(read_checkpoint(bert).checksum[:32])


def test_a_cache_that_cannot_be_written_says_so(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FORESHOCK_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match="point FORESHOCK_CACHE"):
        on_cpu(bert)


def test_a_process_loads_a_checkpoint_once(bert: Path) -> None:
    assert load_tagger(bert) is load_tagger(bert)
    assert load_tagger(bert) is not load_tagger()


def test_without_a_cache_of_its_own_exports_go_to_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FORESHOCK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/.cache")
    assert cache_folder() == Path("/home/me/.cache/foreshock")


LOAD = "import sys; from pathlib import Path; from models.tagger import Tagger; " + (
    "Tagger(Path(sys.argv[1]), device='cpu')"
)
WITHOUT_PYTORCH = """
import json, sys
from pathlib import Path
sys.modules["torch"] = sys.modules["transformers"] = None
from models.tagger import Tagger
tagger = Tagger(Path(sys.argv[1]), device="cpu", cache_size=0, threads=1)
print(json.dumps([tags.sentiments for tags in tagger.tag(json.loads(sys.argv[2]))]))
"""


def in_a_process_without_pytorch(folder: Path) -> list[list[float]]:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYTORCH, str(folder), json.dumps(HEADLINES)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    answer: list[list[float]] = json.loads(done.stdout)
    return answer


def kept_export(folder: Path) -> Path:
    on_cpu(folder)
    (kept,) = cache_folder().glob(f"checkpoints/{read_checkpoint(folder).checksum[:32]}-*")
    return kept


def test_every_tag_of_a_checkpoint_is_one_of_ours(made: dict[str, Path]) -> None:
    for tags in shared(made["roberta"]).tag(HEADLINES):
        assert isinstance(tags, Tags)
        assert (tags.sentiment in SENTIMENTS, tags.topic in TOPICS) == (True, True)
