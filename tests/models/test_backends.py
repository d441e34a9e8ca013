"""The contract of `models.backends.base.Backend`, held by every back end over the shipped model."""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from models.artifact import PADDING, Artifact, load_artifact
from models.backends import choice
from models.backends.base import Backend, BackendError, TokenBatch
from models.backends.choice import Choice, choose
from models.backends.openvino import OpenVinoBackend, artifact_graph
from models.calibration import softmax
from models.tagger import Tagger
from models.tags import HEADS, Tags
from tests.models.test_tagger import HEADLINES, ODD_TEXTS
from tests.models.texts import training_texts

PYTORCH = pytest.param("pytorch-cpu", marks=pytest.mark.skipif("not has_torch()"))
CUDA = pytest.param("pytorch-cuda", marks=pytest.mark.skipif("not has_cuda()"))


def has_torch() -> bool:
    return choice.find_spec("torch") is not None


def has_cuda() -> bool:
    return choice._hindrance() is None


def make(name: str, artifact: Artifact) -> Backend:
    if name == "openvino":
        return OpenVinoBackend(artifact_graph(artifact), "int8", threads=2)
    from models.backends.pytorch import artifact_backend

    device = name.removeprefix("pytorch-")
    return artifact_backend(artifact, device, 256 if device == "cpu" else None)


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return load_artifact()


@pytest.fixture(scope="module", params=["openvino", PYTORCH, CUDA])
def backend(request: pytest.FixtureRequest, artifact: Artifact) -> Backend:
    return make(request.param, artifact)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """What PyTorch on a CPU needs to keep its promise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch(texts: int, length: int, seed: int = 0) -> TokenBatch:
    """Rows of random words, each padded at its end by up to half of its length."""
    chance = np.random.default_rng(seed)
    tokens = chance.integers(1_000, 30_000, (texts, length)).astype(np.int32)
    for row in tokens:
        row[length - chance.integers(0, max(1, length // 2)) :] = PADDING
    return tokens


def test_each_head_answers_for_each_row(backend: Backend) -> None:
    for texts, length in ((1, 8), (3, 11), (64, 8), (1, 96)):
        (found,) = backend.logits([batch(texts, length)])
        assert [values.shape for values in found] == [
            (texts, len(labels)) for labels in HEADS.values()
        ]
        assert all(values.dtype == np.float32 and np.isfinite(values).all() for values in found)


def test_no_batches_give_no_logits(backend: Backend) -> None:
    assert list(backend.logits([])) == []


def test_batches_are_answered_in_order(backend: Backend) -> None:
    batches = [batch(1 + i % 5, 8 + 4 * (i % 3), seed=i) for i in range(20)]
    together = list(backend.logits(batches))
    assert len(together) == len(batches)
    for asked, found in zip(batches, together, strict=True):
        (alone,) = backend.logits([asked])
        assert [a.tobytes() for a in alone] == [f.tobytes() for f in found]


def test_batches_are_drawn_as_they_are_needed(backend: Backend) -> None:
    drawn = 0

    def batches() -> Iterator[TokenBatch]:
        nonlocal drawn
        for i in range(100):
            drawn += 1
            yield batch(1, 8, seed=i)

    answers = backend.logits(batches())
    assert drawn == 0
    next(answers)
    assert drawn < 50
    answers.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("length", [8, 12, 44, 96])
def test_a_row_is_independent_of_its_company(backend: Backend, length: int) -> None:
    rows = batch(24, length, seed=length)
    alone = [[v.tobytes() for v in next(backend.logits([row[None]]))] for row in rows[:8]]
    chance = random.Random(length)
    for size in (2, 3, 5, 8, 17, 24):
        order = chance.sample(range(24), size)
        (together,) = backend.logits([rows[order]])
        for i, row in enumerate(order):
            if row < 8:
                assert [v[i].tobytes() for v in together] == alone[row]


def test_several_threads_may_ask_at_once(backend: Backend) -> None:
    asked = [[batch(1 + i, 8 + 4 * (i % 2), seed=i) for i in range(j, j + 4)] for j in range(4)]

    def answer(batches: list[TokenBatch]) -> list[bytes]:
        return [values.tobytes() for found in backend.logits(batches) for values in found]

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(answer, asked))
    assert together == [answer(batches) for batches in asked]


def test_a_batch_larger_than_preferred_is_answered(backend: Backend) -> None:
    rows = batch(backend.tokens_per_batch // 8 + 3, 8)
    (together,) = backend.logits([rows])
    (last,) = backend.logits([rows[-1:]])
    assert [v[-1].tobytes() for v in together] == [v[0].tobytes() for v in last]


def test_the_numeric_path_names_engine_and_precision(backend: Backend) -> None:
    engine, precision, *_ = backend.numeric_path.split("/")
    assert engine.split("-")[0] in ("openvino", "torch")
    assert precision == "int8"


def tagger_on(backend: Backend) -> Tagger:
    tagger = Tagger(device="cpu", cache_size=0)
    tagger.models["sentiment"].backend = backend
    return tagger


def test_no_text_is_lost_on_any_back_end(backend: Backend) -> None:
    results = tagger_on(backend).tag([*ODD_TEXTS, *HEADLINES])
    assert len(results) == len(ODD_TEXTS) + len(HEADLINES)
    assert all(isinstance(tags, Tags) for tags in results)


def test_the_same_text_has_the_same_tags_in_any_company(backend: Backend) -> None:
    tagger = tagger_on(backend)
    together = tagger.tag([*training_texts()[:150], *HEADLINES])[150:]
    assert together == [tags for text in HEADLINES for tags in tagger.tag([text])]


def test_back_ends_agree(backend: Backend, artifact: Artifact) -> None:
    """Labels on 99 % of texts. Rounding to int8 turns the last bits of a sum into whole steps, so
    that probabilities differ by more than the sums do; docs/models.md has the figures."""
    texts = training_texts()
    expected = Tagger(device="cpu", cache_size=0).logits(texts)
    found = tagger_on(backend).logits(texts)
    for head, ours, theirs in zip(HEADS, found, expected, strict=True):
        assert (ours.argmax(1) == theirs.argmax(1)).mean() >= 0.99
        scale = artifact.config.temperatures[head]
        differences = np.abs(softmax(ours, scale) - softmax(theirs, scale)).max(axis=1)
        assert np.quantile(differences, 0.99) < 0.06


@pytest.mark.skipif("not has_torch()")
class TestPyTorch:
    """What only this back end promises."""

    def test_products_of_integers_are_exact(self, artifact: Artifact) -> None:
        """No sum that the weights allow reaches 2^24, up to which fp32 holds every integer."""
        for name in artifact.config.architecture.linears():
            zero = artifact.config.activations[name].zero_point
            weights = artifact.tensors[f"{name}.weight"].astype(np.int64)
            up, down = weights.clip(min=0).sum(1), (-weights).clip(min=0).sum(1)
            largest = np.maximum(
                (255 - zero) * up + zero * down, (255 - zero) * down + zero * up
            ).max()
            assert largest < 2**24

    def test_a_batch_that_does_not_fit_is_halved_and_the_smaller_size_kept(
        self, artifact: Artifact
    ) -> None:
        small, seen = small_backend(artifact, tokens=130)
        before, rows = small.numeric_path, batch(40, 16)
        (found,) = small.logits([rows])
        assert small.tokens_per_batch == 128
        assert small.numeric_path != before
        assert set(seen) == {(8, 16)}
        (again,) = small.logits([rows])
        assert [v.tobytes() for v in found] == [v.tobytes() for v in again]

    def test_a_text_that_does_not_fit_says_what_to_do(self, artifact: Artifact) -> None:
        small, _ = small_backend(artifact, tokens=10)
        with pytest.raises(BackendError, match="stop what else runs there"):
            list(small.logits([batch(4, 16)]))

    def test_tags_never_mix_two_sizes_of_batch(self, artifact: Artifact) -> None:
        small, _ = small_backend(artifact, tokens=300)
        results = tagger_on(small).tag(training_texts()[:60])
        paths = {tags.model.numeric_path for tags in results if isinstance(tags, Tags)}
        assert paths == {small.numeric_path}
        assert results == tagger_on(small).tag(training_texts()[:60])


def small_backend(artifact: Artifact, tokens: int) -> tuple[Backend, list[tuple[int, ...]]]:
    """The real network on a device that holds so many tokens at a time; the shapes it computed."""
    import torch

    from models.backends.pytorch import ArtifactNetwork, PyTorchBackend

    seen: list[tuple[int, ...]] = []

    class Small(ArtifactNetwork):
        def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
            if ids.numel() > tokens:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")
            seen.append(tuple(ids.shape))
            return super().forward(ids)

    return PyTorchBackend(Small(artifact, torch.float32), "cpu", "int8"), seen


def test_auto_takes_the_cpu_where_no_driver_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "DRIVER", "libnone.so")
    assert choose("auto") == Choice("cpu", "no NVIDIA driver is installed")


@pytest.mark.parametrize(
    ("usable", "installed", "chosen"),
    [(True, True, "cuda"), (False, True, "cpu"), (True, False, "cpu")],
)
def test_auto_takes_cuda_only_where_pytorch_finds_it(
    monkeypatch: pytest.MonkeyPatch, usable: bool, installed: bool, chosen: str
) -> None:
    with_driver(monkeypatch, usable, installed)
    assert choose("auto").device == chosen


@pytest.mark.parametrize(("usable", "installed"), [(False, True), (True, False)])
def test_a_gpu_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, usable: bool, installed: bool
) -> None:
    with_driver(monkeypatch, usable, installed)
    with pytest.raises(BackendError, match=r"tag\.device is 'cuda', but PyTorch .*'cpu'\.$"):
        choose("cuda")


def with_driver(monkeypatch: pytest.MonkeyPatch, usable: bool, installed: bool) -> None:
    """A machine with NVIDIA's driver, whatever this one has."""
    pytest.importorskip("torch")
    from models.backends import pytorch

    monkeypatch.setattr(choice.ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(pytorch, "cuda_is_usable", lambda: usable)
    find: Callable[..., object] = choice.find_spec
    monkeypatch.setattr(choice, "find_spec", lambda name: find(name) if installed else None)


def test_the_cpu_is_what_it_is_asked_to_be() -> None:
    assert choose("cpu") == Choice("cpu", "as configured")


@pytest.mark.skipif("has_cuda()")
def test_tagging_on_a_cpu_never_imports_pytorch() -> None:
    program = """
import sys
from models.tagger import load_tagger
load_tagger().tag(["Profit falls"])
found = {"torch", "transformers"} & sys.modules.keys()
assert not found, found
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
