"""From the trained network to the artifact's integers: activation ranges, tensors."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from models.artifact import PADDING, ActivationGrid, Tensors
from models.training.fitting import Encoded, logits, padded
from models.training.network import Network

CLIPPED_SHARES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3)
"""Shares of the values cut off at each end of a range: a finer grid for the rest."""

KEPT_VALUES = 400_000


def set_activation_ranges(
    network: Network, calibration: list[Encoded], select: list[Encoded]
) -> float:
    """Chooses every layer's input range by the texts in `calibration`; leaves int8 switched on.

    Of `CLIPPED_SHARES` that one is taken whose logits diverge least from full precision on
    `select`. Returns that divergence (mean Kullback-Leibler over texts and heads).
    """
    network.imitate_int8(False)
    exact = logits(network, select, PADDING)
    values = _inputs(network, calibration)
    network.imitate_int8(True)
    divergences = {}
    for share in CLIPPED_SHARES:
        _set_ranges(network, values, share)
        divergences[share] = _divergence(exact, logits(network, select, PADDING))
    best = min(divergences, key=divergences.__getitem__)
    _set_ranges(network, values, best)
    return divergences[best]


def _set_ranges(network: Network, values: dict[str, np.ndarray], share: float) -> None:
    for name, layer in network.quantised_layers().items():
        low, high = np.quantile(values[name], (share, 1 - share))
        layer.low, layer.high = min(float(low), 0.0), max(float(high), 1e-6)


@torch.inference_mode()
def _inputs(network: Network, encoded: list[Encoded]) -> dict[str, np.ndarray]:
    """A sample of the values that enter each int8 layer, its extremes always among them."""
    network.eval()
    samples: dict[str, list[np.ndarray]] = {name: [] for name in network.quantised_layers()}
    chance = np.random.default_rng(0)

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].flatten().numpy()
            chosen = chance.choice(values, KEPT_VALUES // len(encoded))
            samples[name].append(np.append(chosen, (values.min(), values.max())))

        return hook

    handles = [
        layer.register_forward_pre_hook(keep(name))
        for name, layer in network.quantised_layers().items()
    ]
    for one in encoded:  # alone: padding would count as values
        network(*padded([one.tokens], PADDING))
    for handle in handles:
        handle.remove()
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
    return tensors, grids


def round_embeddings(network: Network) -> None:
    """Puts the word embeddings on the grid that the artifact stores them on."""
    words = network.words.weight.data
    grid = (words.abs().amax(1, keepdim=True) / 127).clamp(min=1e-8)
    words.copy_((words / grid).round() * grid)
