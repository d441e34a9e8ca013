"""The CPU back end: OpenVINO; the artifact's graph in static int8 is built here."""

import os
import platform
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from models.artifact import PADDING, ActivationGrid, Artifact
from models.backends.base import Logits, TokenBatch
from models.tags import HEADS

Node = Any  # the types of OpenVINO's nodes are not declared


class OpenVinoBackend:
    """Any graph on OpenVINO; see `models.backends.base.Backend` for the contract."""

    tokens_per_batch = 512
    """The states then stay in the CPU's cache."""

    texts_per_round = 1_024

    def __init__(
        self,
        graph: openvino.Model,
        precision: str,
        threads: int | None = None,
        compiled_cache: Path | None = None,
    ) -> None:
        """`graph`: token ids (texts, length), int32 -> logits for each head. `threads`: None for
        all cores. `compiled_cache`: folder that keeps the compiled graph."""
        core = openvino.Core()
        # A batch for each core beats one batch on all of them: no core waits for another.
        streams = threads or os.cpu_count() or 1
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
        }
        if compiled_cache is not None:
            options["CACHE_DIR"] = str(compiled_cache)
        self._compiled = core.compile_model(graph, "CPU", options)
        # Enough that no core runs dry while another thread of Python keeps us from refilling.
        self._in_flight = 4 * streams
        version = ".".join(openvino.__version__.split("-")[0].split(".")[:2])
        self.numeric_path = f"openvino-{version}/{precision}/{instruction_set()}"

    def logits(self, batches: Iterable[TokenBatch]) -> Iterator[Logits]:
        """Logits of each batch, in order; the next batch is drawn while earlier ones compute."""
        idle = [self._compiled.create_infer_request() for _ in range(self._in_flight)]
        running: deque[Any] = deque()
        for batch in batches:
            if not idle:
                yield _finished(running[0])
                idle.append(running.popleft())
            request = idle.pop()
            request.start_async({0: batch})
            running.append(request)
        for request in running:
            yield _finished(request)


def _finished(request: Any) -> Logits:
    request.wait()
    return tuple(tensor.data.copy() for tensor in request.output_tensors)


def artifact_graph(artifact: Artifact) -> openvino.Model:
    """The artifact's network in static int8; it needs no file beside the artifact."""
    return _Graph(artifact).model()


class _Graph:
    """The network of `models.training.network`, node for node, over the artifact's tensors."""

    def __init__(self, artifact: Artifact) -> None:
        self.sizes = artifact.config.architecture
        self.tensors = artifact.tensors
        self.activations = artifact.config.activations

    def model(self) -> openvino.Model:
        """Token ids (texts, length) -> logits of the heads, in the order of `HEADS`."""
        tokens = ops.parameter([-1, -1], np.int32, name="tokens")
        present = ops.convert(ops.not_equal(tokens, np.int32(PADDING)), "f32")
        hidden = ops.multiply(ops.subtract(present, np.float32(1)), np.float32(1e4))
        mask = ops.unsqueeze(hidden, np.array([1, 2]))
        states = self._norm(self._embedding(tokens), "norm")
        for i in range(self.sizes.layers):
            states = self._layer(states, mask, f"layers.{i}")
        weight = ops.unsqueeze(present, np.array([2]))
        total = ops.reduce_sum(ops.multiply(states, weight), np.array([1]))
        pooled = ops.divide(total, ops.reduce_sum(weight, np.array([1])))
        answers = []
        for head in HEADS:
            product = ops.matmul(pooled, self._constant(f"heads.{head}.weight"), False, True)
            answers.append(ops.result(ops.add(product, self._constant(f"heads.{head}.bias"))))
        return openvino.Model(answers, [tokens], "foreshock")

    def _embedding(self, tokens: Node) -> Node:
        axis = np.int64(0)
        rows = ops.gather(self._constant("words.weight"), tokens, axis)
        scales = ops.gather(self._constant("words.scale"), tokens, axis)
        words = ops.multiply(ops.convert(rows, "f32"), scales)
        length = ops.gather(ops.shape_of(tokens), np.array([1]), axis)
        positions = ops.slice(
            self._constant("positions.weight"), np.array([0]), length, np.array([1]), np.array([0])
        )
        return ops.add(words, positions)

    def _layer(self, states: Node, mask: Node, name: str) -> Node:
        mixed = self._linear(self._attention(states, mask, name), f"{name}.attention_out")
        states = self._norm(ops.add(states, mixed), f"{name}.attention_norm")
        inner = ops.gelu(self._linear(states, f"{name}.dense_in"), "erf")
        inner = self._linear(inner, f"{name}.dense_out")
        return self._norm(ops.add(states, inner), f"{name}.dense_norm")

    def _attention(self, states: Node, mask: Node, name: str) -> Node:
        """Written out in five dimensions: so OpenVINO leaves its fused kernel aside, which takes
        four times as long for texts as short as these. Query, key and value are three products for
        the same reason: to split one costs more than to multiply thrice."""
        width, heads = self.sizes.width, self.sizes.attention_heads
        states = self._evened(states, f"{name}.attention_in")
        query, key, value = (
            self._by_head(self._product(states, f"{name}.attention_in", slice(i, i + width)))
            for i in range(0, 3 * width, width)
        )
        scores = ops.multiply(
            ops.matmul(query, key, False, True), np.float32((width / heads) ** -0.5)
        )
        shares = ops.softmax(ops.add(scores, mask), -1)
        mixed = ops.squeeze(ops.matmul(shares, value, False, False), np.array([0]))
        mixed = ops.transpose(mixed, np.array([0, 2, 1, 3]))
        return ops.reshape(mixed, np.array([0, 0, width]), special_zero=True)

    def _by_head(self, states: Node) -> Node:
        """(texts, length, width) -> (1, texts, heads, length, width of a head)."""
        shape = np.array([0, 0, self.sizes.attention_heads, -1])
        split = ops.transpose(ops.reshape(states, shape, special_zero=True), np.array([0, 2, 1, 3]))
        return ops.unsqueeze(split, np.array([0]))

    def _linear(self, states: Node, name: str) -> Node:
        return self._product(self._evened(states, name), name)

    def _evened(self, states: Node, name: str) -> Node:
        """What enters a product, on its grid."""
        evened = ops.multiply(states, 1 / self.tensors[f"{name}.smoothing"])
        return _on_grid(evened, self.activations[name])

    def _product(self, states: Node, name: str, rows: slice = slice(None)) -> Node:
        weight = ops.convert(self._constant(f"{name}.weight", rows), "f32")
        weight = ops.multiply(weight, self._constant(f"{name}.scale", rows))
        product = ops.matmul(states, weight, False, True)
        return ops.add(product, self._constant(f"{name}.bias", rows))

    def _norm(self, states: Node, name: str) -> Node:
        epsilon = self.sizes.layer_norm_epsilon
        states = ops.mvn(states, np.array([-1]), True, epsilon, "inside_sqrt")
        scaled = ops.multiply(states, self._constant(f"{name}.weight"))
        return ops.add(scaled, self._constant(f"{name}.bias"))

    def _constant(self, name: str, rows: slice = slice(None)) -> Node:
        return ops.constant(np.ascontiguousarray(self.tensors[name][rows]))


def _on_grid(states: Node, grid: ActivationGrid) -> Node:
    """The static uint8 rounding that lets OpenVINO run the following product in integers."""
    low = np.float32(-grid.zero_point * grid.scale)
    high = np.float32((255 - grid.zero_point) * grid.scale)
    return ops.fake_quantize(states, low, high, low, high, 256)


def instruction_set() -> str:
    """The widest int8 instructions of this processor, as far as the system tells."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        flags = set()
    for name in ("amx_int8", "avx512_vnni", "avx_vnni", "avx512bw", "avx2"):
        if name in flags:
            return name
    return platform.machine().lower()
