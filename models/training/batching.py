"""Batches: texts of like length beside each other, in an order that chance decides."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from models.training.recipes import Stage

Item = TypeVar("Item")
_BATCHES_SORTED_TOGETHER = 40


def batches_of(
    items: Sequence[Item], length: Callable[[Item], int], stage: Stage, chance: random.Random
) -> list[list[Item]]:
    """All items in batches, or as many as `stage.steps_per_epoch` allows."""
    shuffled = list(items)
    chance.shuffle(shuffled)
    pool = stage.batch * _BATCHES_SORTED_TOGETHER
    batches = []
    for start in range(0, len(shuffled), pool):
        part = sorted(shuffled[start : start + pool], key=length)
        batches += [part[i : i + stage.batch] for i in range(0, len(part), stage.batch)]
    chance.shuffle(batches)
    return batches[: stage.steps_per_epoch]


def padded(
    sequences: Sequence[Sequence[int]], padding: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Ids and mask, (batch, longest)."""
    length = max(map(len, sequences))
    tokens = torch.tensor([[*s, *[padding] * (length - len(s))] for s in sequences])
    sizes = torch.tensor([len(s) for s in sequences])
    mask = torch.arange(length) < sizes[:, None]
    return tokens.to(device), mask.to(device)
