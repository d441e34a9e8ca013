"""The GPU back end: PyTorch on CUDA, and the same code on a CPU. Needs the extra `gpu`.

It computes what the CPU back end computes: int8 weights and activations rounded to the artifact's
static grid. The weights are the artifact's integers and so are the rounded activations; up to 256
integers are exact in bf16, and their products are summed in fp32, where sums below 2^24 are exact
in any order. So no choice of a matrix kernel, which changes with the number of rows, can change a
bit of them. All else (attention, normalisation, pooling) is fp32.

That leaves the kernels of attention and pooling and the product with the heads. A row's padded
length is a function of its text alone, and each batch is filled up to the one number of rows that
belongs to its length: on one device all batches of a length run the same kernels in the same shape.
On a CPU that makes rows equal bit for bit with one thread alone (`torch.set_num_threads(1)`):
several share a batch out by place, and what stands where decides the last bit of attention.
Where memory runs out the shapes are halved, for good; `numeric_path` ends in the tokens of a batch
and changes with them.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import embedding, gelu, layer_norm, linear, scaled_dot_product_attention

from models.artifact import PADDING, Artifact
from models.backends.base import BackendError, Logits, TokenBatch
from models.tags import HEADS

IN_FLIGHT = 4
"""Batches that are copied or computed while the next one is filled."""

_ATTENTION = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
"""Without cuDNN's, which chooses its kernel by rules of its own."""


def cuda_is_usable() -> bool:
    """Whether this PyTorch can compute on a GPU of this machine."""
    return torch.cuda.is_available()


class _Running(NamedTuple):
    rows: int
    answers: tuple[Tensor, ...]
    done: torch.cuda.Event | None


class PyTorchBackend:
    """Any network on CUDA or the CPU; see `models.backends.base.Backend` for the contract."""

    def __init__(
        self, network: nn.Module, device: str, precision: str, tokens_per_batch: int | None = None
    ) -> None:
        """`network`: token ids (texts, length), int32 -> a tensor of logits for each head."""
        self._device = torch.device(device)
        self._network = network.to(self._device).eval()
        on_gpu = self._device.type == "cuda"
        self.tokens_per_batch = tokens_per_batch or (32_768 if on_gpu else 512)
        self.texts_per_round = 32_768 if on_gpu else 1_024
        self._precision = precision
        self._lock = threading.Lock()
        if on_gpu:
            self._copying = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            # One stream for all products: on several, cuBLAS does not promise equal bits.
            self._computing = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            self._computing.wait_stream(torch.cuda.current_stream(self._device))  # the weights

    @property
    def numeric_path(self) -> str:
        """Ends in the tokens of a batch: they set the shape that everything is computed in."""
        version = ".".join(torch.__version__.split("+")[0].split(".")[:2])
        name = "cpu"
        if self._device.type == "cuda":
            name = torch.cuda.get_device_name(self._device).lower().replace(" ", "-")
        return f"torch-{version}/{self._precision}/{name}/{self.tokens_per_batch}"

    def logits(self, batches: Iterable[TokenBatch]) -> Iterator[Logits]:
        """Logits of each batch, in order; the next batch is drawn while earlier ones compute.

        Raises `BackendError` where the memory does not hold a single text.
        """
        running: deque[list[_Running]] = deque()
        for batch in batches:
            if len(running) == IN_FLIGHT:
                yield _finished(running.popleft())
            running.append(self._started(batch))
        while running:
            yield _finished(running.popleft())

    def _started(self, batch: TokenBatch) -> list[_Running]:
        parts: list[_Running] = []
        start = 0
        while start < len(batch):
            with self._lock:  # the shape must not change between cutting the rows and filling up
                rows = batch[start : start + self._rows(batch.shape[1])]
                try:
                    parts.append(self._start(rows))
                    start += len(rows)
                    continue
                except torch.OutOfMemoryError as error:
                    reason = str(error).split(". ")[0]
                self._halve(batch.shape[1], reason)
        return parts

    def _rows(self, length: int) -> int:
        return max(1, self.tokens_per_batch // length)

    def _halve(self, length: int, reason: str) -> None:
        """Gives memory back and takes smaller batches from now on."""
        if self._rows(length) == 1:
            raise BackendError(
                f"The GPU's memory does not hold a text of {length} tokens ({reason}): "
                "stop what else runs there, or set tag.device to cpu."
            )
        self.tokens_per_batch = max(length, self.tokens_per_batch // 2)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.empty_cache()

    def _start(self, rows: TokenBatch) -> _Running:
        on_gpu = self._device.type == "cuda"
        shape = (self._rows(rows.shape[1]), rows.shape[1])
        tokens = torch.empty(shape, dtype=torch.int32, pin_memory=on_gpu)
        tokens[: len(rows)] = torch.from_numpy(np.ascontiguousarray(rows))
        tokens[len(rows) :] = tokens[0].clone()
        with torch.inference_mode(), sdpa_kernel(_ATTENTION):
            if not on_gpu:
                return _Running(len(rows), self._network(tokens), None)
            with torch.cuda.stream(self._copying):
                there = tokens.to(self._device, non_blocking=True)
            self._computing.wait_stream(self._copying)
            there.record_stream(self._computing)
            with torch.cuda.stream(self._computing):
                answers = tuple(_to_host(logits) for logits in self._network(there))
                done = torch.cuda.Event()  # type: ignore[no-untyped-call]
                done.record(self._computing)
        return _Running(len(rows), answers, done)


def _to_host(logits: Tensor) -> Tensor:
    here = torch.empty(logits.shape, dtype=logits.dtype, pin_memory=True)
    return here.copy_(logits, non_blocking=True)


def _finished(parts: list[_Running]) -> Logits:
    for part in parts:
        if part.done is not None:
            part.done.synchronize()
    heads = zip(*([a[: part.rows] for a in part.answers] for part in parts), strict=True)
    return tuple(torch.cat(list(rows)).numpy() for rows in heads)


def artifact_backend(
    artifact: Artifact, device: str, tokens_per_batch: int | None = None
) -> PyTorchBackend:
    """The artifact's network on `device`, such as "cuda" or "cpu"."""
    integers = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
    return PyTorchBackend(ArtifactNetwork(artifact, integers), device, "int8", tokens_per_batch)


class ArtifactNetwork(nn.Module):
    """The network of `models.training.network` over the artifact's integers."""

    def __init__(self, artifact: Artifact, integers: torch.dtype) -> None:
        """`integers`: the type that holds whole numbers in products, fp32 or, on CUDA, bf16."""
        super().__init__()
        self.sizes = artifact.config.architecture
        tensors = artifact.tensors
        words = np.float32(tensors["words.weight"]) * tensors["words.scale"]
        self.words = _kept(words)
        self.positions = _kept(tensors["positions.weight"])
        self.norm = _Norm(artifact, "norm")
        self.layers = nn.ModuleList(
            _Layer(artifact, f"layers.{i}", integers) for i in range(self.sizes.layers)
        )
        self.label_counts = [len(labels) for labels in HEADS.values()]
        self.weight = _kept(np.concatenate([tensors[f"heads.{head}.weight"] for head in HEADS]))
        self.bias = _kept(np.concatenate([tensors[f"heads.{head}.bias"] for head in HEADS]))

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Token ids (texts, length) -> logits of the heads, in the order of `HEADS`."""
        present = tokens != PADDING
        states = self.norm(embedding(tokens, self.words) + self.positions[: tokens.shape[1]])
        for layer in self.layers:
            states = layer(states, present[:, None, None, :])
        weight = present.unsqueeze(-1).to(states.dtype)
        pooled = (states * weight).sum(1) / weight.sum(1)
        return torch.split(linear(pooled, self.weight, self.bias), self.label_counts, dim=1)


class _Layer(nn.Module):
    def __init__(self, artifact: Artifact, name: str, integers: torch.dtype) -> None:
        super().__init__()
        self.attention_heads = artifact.config.architecture.attention_heads
        self.attention_in = ExactLinear(artifact, f"{name}.attention_in", integers)
        self.attention_out = ExactLinear(artifact, f"{name}.attention_out", integers)
        self.attention_norm = _Norm(artifact, f"{name}.attention_norm")
        self.dense_in = ExactLinear(artifact, f"{name}.dense_in", integers)
        self.dense_out = ExactLinear(artifact, f"{name}.dense_out", integers)
        self.dense_norm = _Norm(artifact, f"{name}.dense_norm")

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        texts, length, width = states.shape
        joined = self.attention_in(states).view(texts, length, 3, self.attention_heads, -1)
        query, key, value = joined.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = self.attention_out(mixed.transpose(1, 2).reshape(texts, length, width))
        states = self.attention_norm(states + mixed)
        inner = self.dense_out(gelu(self.dense_in(states)))
        output: Tensor = self.dense_norm(states + inner)
        return output


class ExactLinear(nn.Module):
    """An int8 layer: its smoothed input is rounded to the static grid, the product is exact."""

    def __init__(self, artifact: Artifact, name: str, integers: torch.dtype) -> None:
        super().__init__()
        tensors, grid = artifact.tensors, artifact.config.activations[name]
        self.low, self.high = float(-grid.zero_point), float(255 - grid.zero_point)
        self.weight = _kept(tensors[f"{name}.weight"], integers)
        self.to_grid = _kept(1 / (tensors[f"{name}.smoothing"] * np.float32(grid.scale)))
        self.from_grid = _kept(tensors[f"{name}.scale"][:, 0] * np.float32(grid.scale))
        self.bias = _kept(tensors[f"{name}.bias"])

    def forward(self, states: Tensor) -> Tensor:
        whole = (states * self.to_grid).round_().clamp_(self.low, self.high)
        rows = whole.flatten(0, 1).to(self.weight.dtype)
        if rows.dtype is torch.bfloat16:
            product = torch.mm(rows, self.weight.t(), out_dtype=torch.float32)
        else:
            product = rows @ self.weight.t()
        return torch.addcmul(self.bias, product, self.from_grid).view(*states.shape[:2], -1)


class _Norm(nn.Module):
    def __init__(self, artifact: Artifact, name: str) -> None:
        super().__init__()
        self.epsilon = artifact.config.architecture.layer_norm_epsilon
        self.weight = _kept(artifact.tensors[f"{name}.weight"])
        self.bias = _kept(artifact.tensors[f"{name}.bias"])

    def forward(self, states: Tensor) -> Tensor:
        return layer_norm(states, states.shape[-1:], self.weight, self.bias, self.epsilon)


def _kept(values: np.ndarray, kind: torch.dtype = torch.float32) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.ascontiguousarray(values)).to(kind), False)
