"""How close the PyTorch back end comes to the CPU's: `python -m tests.benchmarks.agreement [FILE]`.

Labels and probabilities of both heads; beside it what other arithmetic would give, and how far
PyTorch moves from itself when each layer's input gets noise of 1e-5. Needs the extra `gpu`; runs on
CUDA where that is found.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.artifact import load_artifact
from models.backends.choice import choose
from models.backends.pytorch import ArtifactNetwork, ExactLinear, PyTorchBackend
from models.tagger import Tagger
from models.tags import HEADS
from tests.benchmarks.texts import SAMPLE, machine, read_texts


class Dequantised(nn.Module):
    """A layer with the artifact's weights, its input not rounded."""

    def __init__(self, kind: torch.dtype, layer: ExactLinear) -> None:
        super().__init__()
        weight = layer.weight.float() * layer.from_grid[:, None] * layer.to_grid
        self.weight, self.bias = (
            nn.Parameter(values.to(kind), False) for values in (weight, layer.bias)
        )

    def forward(self, states: Tensor) -> Tensor:
        return nn.functional.linear(states.to(self.bias.dtype), self.weight, self.bias).float()


class Noisy(nn.Module):
    """A layer whose input is moved by one part in 100,000."""

    def __init__(self, layer: ExactLinear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, states: Tensor) -> Tensor:
        result: Tensor = self.layer(states * (1 + 1e-5 * torch.randn_like(states)))
        return result


def networks(integers: torch.dtype) -> Iterator[tuple[str, nn.Module]]:
    """Each arithmetic by its name, the one that runs first."""
    artifact = load_artifact()
    yield "the same integers", ArtifactNetwork(artifact, integers)
    for kind in (torch.float32, torch.bfloat16):
        network = ArtifactNetwork(artifact, integers)
        replace(network, partial(Dequantised, kind))
        yield f"dequantised weights, {kind}", network


def noisy(integers: torch.dtype) -> nn.Module:
    network = ArtifactNetwork(load_artifact(), integers)
    replace(network, Noisy)
    return network


def replace(network: nn.Module, by: Callable[[ExactLinear], nn.Module]) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ExactLinear):
                setattr(parent, name, by(child))


def compare(
    name: str, tagger: Tagger, found: list[NDArray[np.float32]], expected: list[NDArray[np.float32]]
) -> None:
    cells = []
    for head, ours, theirs in zip(HEADS, found, expected, strict=True):
        equal = (ours.argmax(1) == theirs.argmax(1)).mean()
        difference = np.abs(tagger.probabilities(ours, head) - tagger.probabilities(theirs, head))
        tail = np.quantile(difference.max(axis=1), 0.99)
        cells.append(f"{head}: labels {equal:.4f}, 99 % within {tail:.3f}")
    print(f"{name:<36}{'   '.join(cells)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=SAMPLE, help="texts; may be .gz")
    parser.add_argument("--texts", type=int, default=2_000, help="distinct texts to take")
    arguments = parser.parse_args()
    texts = list(islice(dict.fromkeys(read_texts(arguments.file)), arguments.texts))
    device = choose("auto").device
    integers = torch.bfloat16 if device == "cuda" else torch.float32
    print(f"{machine()}, PyTorch on {device}, {len(texts)} texts")

    def logits(network: nn.Module) -> list[NDArray[np.float32]]:
        tagger.models["sentiment"].backend = PyTorchBackend(network, device, "")
        return tagger.logits(texts)

    tagger = Tagger(device="cpu", cache_size=0)
    expected = tagger.logits(texts)
    exact = None
    for name, network in networks(integers):
        found = logits(network)
        exact = exact or found
        compare(name, tagger, found, expected)
    assert exact is not None
    compare("PyTorch against itself with noise", tagger, logits(noisy(integers)), exact)


if __name__ == "__main__":
    main()
