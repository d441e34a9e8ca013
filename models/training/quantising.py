"""From the trained network to the artifact's integers: activation ranges, tensors."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from models.artifact import PADDING, ActivationGrid, Tensors
from models.training.batching import padded
from models.training.fitting import Encoded, logits
from models.training.network import Network

CLIPPED_SHARES = (0.0, 1e-5, 1e-4)
"""Shares of the values cut off at each end of a range: a finer grid for the rest."""

SMOOTHING = 0.8
"""How much of the difference between input channels moves into the weights, 0 to 1."""

KEPT_VALUES = 400_000


def set_activation_ranges(
    network: Network, calibration: list[Encoded], select: list[Encoded]
) -> float:
    """Chooses every layer's input range by the texts in `calibration`; leaves int8 switched on.

    Of `CLIPPED_SHARES` that one is taken whose logits diverge least from full precision on
    `select`. Returns that divergence (mean Kullback-Leibler over texts and heads).
    """
    network.imitate_int8(False)
    exact = logits(network, select)
    values = _inputs(network, calibration)
    network.imitate_int8(True)
    divergences = {}
    for share in CLIPPED_SHARES:
        _set_ranges(network, values, share)
        divergences[share] = _divergence(exact, logits(network, select))
    best = min(divergences, key=divergences.__getitem__)
    _set_ranges(network, values, best)
    return divergences[best]


@torch.inference_mode()
def smooth(network: Network, calibration: list[Encoded]) -> None:
    """Evens out the channels of every int8 layer's input (SmoothQuant, Xiao et al. 2023).

    A few channels of BERT's states are far larger than the rest, which a common grid would blur.
    """
    layers = network.quantised_layers()
    largest = {name: torch.zeros(layer.in_features) for name, layer in layers.items()}

    def look(name: str, inputs: Tensor) -> None:
        torch.maximum(largest[name], inputs.abs().amax((0, 1)), out=largest[name])

    _watch(network, calibration, look)
    for name, layer in layers.items():
        weights = layer.weight.abs().amax(0).clamp(min=1e-4)
        channels = largest[name].clamp(min=1e-4) ** SMOOTHING / weights ** (1 - SMOOTHING)
        layer.smooth(channels / channels.median())


def _watch(network: Network, encoded: list[Encoded], look: Callable[[str, Tensor], None]) -> None:
    """Shows every int8 layer's inputs to `look`, one text at a time: padding is no value."""
    network.eval()

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: look(name, inputs[0])

    handles = [
        layer.register_forward_pre_hook(hook_of(name))
        for name, layer in network.quantised_layers().items()
    ]
    for one in encoded:
        network(*padded([one.tokens], PADDING, torch.device("cpu")))
    for handle in handles:
        handle.remove()


def _set_ranges(network: Network, values: dict[str, np.ndarray], share: float) -> None:
    for name, layer in network.quantised_layers().items():
        low, high = np.quantile(values[name], (share, 1 - share))
        layer.low, layer.high = min(float(low), 0.0), max(float(high), 1e-6)


@torch.inference_mode()
def _inputs(network: Network, encoded: list[Encoded]) -> dict[str, np.ndarray]:
    """A sample of the smoothed values that enter each int8 layer, the extremes of a text in it."""
    layers = network.quantised_layers()
    samples: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    chance = np.random.default_rng(0)

    def keep(name: str, inputs: Tensor) -> None:
        smoothing = layers[name].smoothing
        values = (inputs if smoothing is None else inputs / smoothing).flatten().numpy()
        chosen = chance.choice(values, KEPT_VALUES // len(encoded))
        samples[name].append(np.append(chosen, (values.min(), values.max())))

    _watch(network, encoded, keep)
    return {name: np.concatenate(parts) for name, parts in samples.items()}


def _divergence(exact: dict[str, Tensor], rounded: dict[str, Tensor]) -> float:
    total = 0.0
    for head, values in exact.items():
        total += float(
            nn.functional.kl_div(
                rounded[head].log_softmax(1),
                values.log_softmax(1),
                reduction="batchmean",
                log_target=True,
            )
        )
    return total / len(exact)


def integer_tensors(network: Network) -> tuple[Tensors, dict[str, ActivationGrid]]:
    """The artifact's tensors and activation grids of a network whose ranges are set."""
    tensors: Tensors = {}
    quantised = network.quantised_layers()
    for name, value in network.state_dict().items():
        layer = quantised.get(name.removesuffix(".weight"))
        if name == "words.weight":
            grid = (value.abs().amax(1, keepdim=True) / 127).clamp(min=1e-8)
        elif layer is not None and name.endswith(".weight"):
            grid = layer.weight_scale()
        else:
            tensors[name] = value.float().numpy()
            continue
        tensors[name] = (value / grid).round().clamp(-127, 127).to(torch.int8).numpy()
        tensors[name.removesuffix("weight") + "scale"] = grid.numpy()
    grids = {}
    for name, layer in quantised.items():
        scale, zero = layer.input_grid()
        grids[name] = ActivationGrid(scale, zero)
        smoothing = torch.ones(layer.in_features) if layer.smoothing is None else layer.smoothing
        tensors[f"{name}.smoothing"] = smoothing.numpy()
    return tensors, grids


def round_embeddings(network: Network) -> None:
    """Puts the word embeddings on the grid that the artifact stores them on."""
    words = network.words.weight.data
    grid = (words.abs().amax(1, keepdim=True) / 127).clamp(min=1e-8)
    words.copy_((words / grid).round() * grid)
