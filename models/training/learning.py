"""The loop of every stage: steps that can be killed at any point and taken up again, and their log.

All chance in a step comes from the stage's seed and the number of the step, so that a run that was
broken off and one that was not end with the same weights.
"""

import csv
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from models.training.recipes import Stage

CHECKPOINT_STEPS = 100
_AVERAGED_EVERY = 4

Batch = TypeVar("Batch")
Scores = dict[str, float]


class Outcome(NamedTuple):
    """What a stage reached in its best epoch, and how long it computed in all its runs."""

    scores: Scores
    seconds: float


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def learn(
    network: nn.Module,
    stage: Stage,
    rates: list[dict[str, Any]],
    batches: Callable[[random.Random], Sequence[Batch]],
    loss: Callable[[Batch], Tensor],
    score: Callable[[], Scores],
    folder: Path,
    seed: int,
) -> Outcome:
    """Trains `network` in place and leaves it with the averaged weights of its best epoch.

    `rates` are parameter groups with their highest rates. `batches` makes those of an epoch, as
    many each time, with all its chance from what it is given. `score` measures the network as it
    stands; the mean of its values decides. `folder` holds the checkpoint, `log.csv` (a line for an
    epoch) and TensorBoard's files; a run that ended is not repeated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.to(device())
    run = _Run(network, stage, rates, folder)
    if run.finished():
        return Outcome(run.best, run.seconds)
    per_epoch = len(batches(random.Random(seed)))
    total = stage.epochs * per_epoch
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, SummaryWriter(str(folder)) as board:
        bar = progress.add_task(folder.name, total=total, completed=run.steps)
        while run.steps < total and run.waited < stage.patience:
            epoch, begun = divmod(run.steps, per_epoch)
            for batch in batches(random.Random(f"{seed} {epoch}"))[begun:]:
                torch.manual_seed(seed * 1_000_003 + run.steps)
                network.train()
                run.step(loss(batch), _cosine(run.steps, total, stage.warm_up))
                progress.advance(bar)
                if run.steps % CHECKPOINT_STEPS == 0 and run.steps % per_epoch:
                    run.save()
            run.end_epoch(epoch + 1, per_epoch, score)
            for name, value in run.history[-1].items():
                board.add_scalar(name, value, run.steps)
    run.finish()
    return Outcome(run.best, run.seconds)


def layered_rates(
    network: nn.Module, stage: Stage, layers: int, fast: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Lower layers learn slower: they know the language already. New parts, `fast`, faster."""
    groups: list[dict[str, Any]] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        below = layers + 1
        if "layers." in name:
            below = layers - 1 - int(name.split("layers.")[1].split(".")[0])
        rate = stage.rate * stage.layer_decay**below
        if name.startswith(fast):
            rate = 4 * stage.rate
        decay = stage.weight_decay if parameter.ndim > 1 else 0.0
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    return groups


class _Run:
    """Optimiser, averaged weights and history of one stage."""

    def __init__(
        self, network: nn.Module, stage: Stage, rates: list[dict[str, Any]], folder: Path
    ) -> None:
        self.network, self.stage, self.folder = network, stage, folder
        self.optimiser = torch.optim.AdamW(rates, fused=True)
        self.highest = [group["lr"] for group in self.optimiser.param_groups]
        self.average = {k: v.clone() for k, v in network.state_dict().items()}
        self.steps, self.waited, self.loss = 0, 0, 0.0
        self.seconds, self._since = 0.0, time.monotonic()
        self.best: Scores = {}
        self.history: list[Scores] = []

    def step(self, loss: Tensor, pace: float) -> None:
        for group, highest in zip(self.optimiser.param_groups, self.highest, strict=True):
            group["lr"] = highest * pace
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        self.loss += float(loss.detach())
        if self.steps % _AVERAGED_EVERY == 0:
            # Early on the beginning would outweigh all that was learned.
            keep = min(self.stage.averaging**_AVERAGED_EVERY, self.steps / (self.steps + 40))
            now = self.network.state_dict()
            torch._foreach_lerp_(
                list(self.average.values()), [now[k] for k in self.average], 1 - keep
            )

    def end_epoch(self, epoch: int, steps: int, score: Callable[[], Scores]) -> None:
        """Measures the averaged weights, keeps them if they are the best, and logs."""
        now = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        scores = score()
        self.network.load_state_dict(now)
        self.waited += 1
        if not self.best or _mean(scores) > _mean(self.best):
            self.best, self.waited = scores, 0
            _save(self.average, self.folder / "best.pt")
        self.history.append({"epoch": epoch, "loss": self.loss / steps, **scores})
        self.loss = 0.0
        with (self.folder / "log.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.history[0])
            writer.writerows([f"{value:.5g}" for value in row.values()] for row in self.history)
        self.save()

    def save(self) -> None:
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        _save(
            {
                "network": self.network.state_dict(),
                "average": self.average,
                "optimiser": self.optimiser.state_dict(),
                **{name: getattr(self, name) for name in _COUNTERS},
            },
            self.folder / "checkpoint.pt",
        )

    def finish(self) -> None:
        """Leaves the network with the best weights, and they alone in the folder."""
        weights = _loaded(self.folder / "best.pt")
        self.network.load_state_dict(weights)
        summary = json.dumps({"best": self.best, "seconds": self.seconds})
        (self.folder / "summary.json").write_text(summary)
        (self.folder / "best.pt").replace(self.folder / "finished.pt")
        (self.folder / "checkpoint.pt").unlink()

    def finished(self) -> bool:
        """Takes up what the folder holds; whether nothing is left to be done."""
        if (self.folder / "finished.pt").exists():
            weights = _loaded(self.folder / "finished.pt")
            self.network.load_state_dict(weights)
            summary = json.loads((self.folder / "summary.json").read_text())
            self.best, self.seconds = summary["best"], summary["seconds"]
            return True
        if (self.folder / "checkpoint.pt").exists():
            state = _loaded(self.folder / "checkpoint.pt")
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average = state["average"]
            for name in _COUNTERS:
                setattr(self, name, state[name])
        return False


_COUNTERS = ("steps", "waited", "loss", "best", "history", "seconds")


def _mean(scores: Scores) -> float:
    return sum(scores.values()) / len(scores)


def _loaded(path: Path) -> dict[str, Any]:
    """From whichever device it was saved on."""
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device())
    return state


def _save(state: object, path: Path) -> None:
    """All or nothing: a kill while writing leaves what was there."""
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def _cosine(step: int, steps: int, warm_up: float) -> float:
    rising = max(1, int(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))
