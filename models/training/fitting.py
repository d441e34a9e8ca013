"""Fitting the network: mixed batches of both heads, averaged weights, checkpoints by epoch."""

import csv
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.tags import HEADS
from models.text import normalise
from models.training.corpora import UNLABELLED, Example
from models.training.network import Network

MASKING_TOKEN, PADDING_TOKEN = "[MASK]", "[PAD]"


@dataclass(frozen=True)
class Fit:
    """How one stage of training goes; the defaults are the recipe of the shipped model."""

    epochs: int = 4
    batch: int = 32
    rate: float = 2.5e-4
    layer_decay: float = 0.9
    warm_up: float = 0.08
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    token_masking: float = 0.04
    consistency: float = 1.0
    averaging: float = 0.998
    steps_per_epoch: int | None = None


@dataclass(frozen=True)
class Encoded:
    """An example as token ids."""

    tokens: list[int]
    example: Example


def encode(examples: list[Example], tokenizer: Tokenizer) -> list[Encoded]:
    """Normalises and tokenises."""
    encodings = tokenizer.encode_batch_fast([normalise(e.text) for e in examples])
    return [Encoded(t.ids, e) for t, e in zip(encodings, examples, strict=True)]


def padded(sequences: list[list[int]], padding: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, (batch, longest)."""
    length = max(map(len, sequences))
    tokens = torch.tensor([s + [padding] * (length - len(s)) for s in sequences])
    sizes = torch.tensor([len(s) for s in sequences])
    return tokens, torch.arange(length) < sizes[:, None]


@torch.inference_mode()
def logits(network: Network, encoded: list[Encoded], padding: int) -> dict[str, Tensor]:
    """Logits of both heads in the order of `encoded`, each (texts, labels)."""
    network.eval()
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].tokens))
    answers = {name: torch.empty(len(encoded), len(labels)) for name, labels in HEADS.items()}
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        for name, values in network(*padded([encoded[i].tokens for i in rows], padding)).items():
            answers[name][rows] = values
    return answers


def labels_of(encoded: list[Encoded], head: str) -> Tensor:
    """The label's index for each text, `UNLABELLED` where there is none."""
    return torch.tensor([getattr(e.example, head) for e in encoded])


def accuracies(network: Network, encoded: list[Encoded], padding: int) -> dict[str, float]:
    """The share of right answers for each source of labels."""
    answers = logits(network, encoded, padding)
    shares = {}
    for source in sorted({e.example.source for e in encoded}):
        head = "topic" if source.endswith("topic") else "sentiment"
        rows = torch.tensor([e.example.source == source for e in encoded])
        right = answers[head][rows].argmax(1) == labels_of(encoded, head)[rows]
        shares[source] = float(right.float().mean())
    return shares


def fit(
    network: Network,
    train: list[Encoded],
    select: list[Encoded],
    tokenizer: Tokenizer,
    plan: Fit,
    folder: Path,
    seed: int,
) -> float:
    """Trains `network` in place and leaves it with the averaged weights of its best epoch.

    Each epoch ends with a checkpoint in `folder`, from which a killed run goes on, and a line in
    `log.csv` there. Returns the mean accuracy over the sources of the select split.
    """
    run = _Run(network, plan, len(train), tokenizer, seed)
    folder.mkdir(parents=True, exist_ok=True)
    first, best = run.resume(folder)
    for epoch in range(first, plan.epochs):
        batches = list(_batches(train, plan, random.Random(seed * 1000 + epoch)))
        torch.manual_seed(seed * 1000 + epoch)
        network.train()
        loss = 0.0
        for batch in track(batches, f"epoch {epoch + 1}/{plan.epochs}"):
            loss += run.step(batch)
        shares = run.measure(lambda: accuracies(network, select, run.padding))
        score = sum(shares.values()) / len(shares)
        if score >= best:
            best = score
            torch.save(run.average, folder / "best.pt")
        run.save(folder, epoch + 1, best)
        _log(folder / "log.csv", epoch, loss / len(batches), shares)
    network.load_state_dict(torch.load(folder / "best.pt", weights_only=True))
    return best


class _Run:
    """Optimiser, schedule and averaged weights of one fit."""

    def __init__(
        self, network: Network, plan: Fit, examples: int, tokenizer: Tokenizer, seed: int
    ) -> None:
        self.network, self.plan = network, plan
        self.padding = _id(tokenizer, PADDING_TOKEN)
        self.mask = _id(tokenizer, MASKING_TOKEN)
        per_epoch = plan.steps_per_epoch or math.ceil(examples / plan.batch)
        steps = plan.epochs * per_epoch
        self.optimiser = torch.optim.AdamW(_rates(network, plan), fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: _cosine(step, steps, plan.warm_up)
        )
        self.average = {k: v.clone() for k, v in network.state_dict().items()}
        self.steps = 0
        torch.manual_seed(seed)

    def step(self, batch: list[Encoded]) -> float:
        tokens, mask = padded([e.tokens for e in batch], self.padding)
        maskable = mask & (tokens > self.mask)
        hidden = maskable & (torch.rand(tokens.shape) < self.plan.token_masking)
        tokens = tokens.masked_fill(hidden, self.mask)
        passes = 2 if self.plan.consistency else 1
        with torch.autocast("cpu", torch.bfloat16):
            answers = self.network(tokens.repeat(passes, 1), mask.repeat(passes, 1))
        loss = sum(
            (self._loss(answers[head], labels_of(batch, head).repeat(passes)) for head in HEADS),
            start=torch.zeros(()),
        ) / len(tokens)
        self.optimiser.zero_grad(set_to_none=True)
        (loss / passes).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self._average()
        return float(loss.detach())

    def _loss(self, answers: Tensor, labels: Tensor) -> Tensor:
        labelled = labels != UNLABELLED
        loss = nn.functional.cross_entropy(
            answers,
            labels,
            ignore_index=UNLABELLED,
            reduction="sum",
            label_smoothing=self.plan.label_smoothing,
        )
        if self.plan.consistency:
            # R-Drop (Liang 2021): two passes under other dropout should agree.
            first, second = answers[labelled].log_softmax(1).chunk(2)
            both = nn.functional.kl_div(first, second, reduction="sum", log_target=True)
            both = both + nn.functional.kl_div(second, first, reduction="sum", log_target=True)
            loss = loss + self.plan.consistency * both / 2
        return loss

    def _average(self) -> None:
        self.steps += 1
        if self.steps % 4 == 0:
            keep = min(self.plan.averaging**4, self.steps / (self.steps + 40))
            now = self.network.state_dict()
            torch._foreach_lerp_(
                list(self.average.values()), [now[k] for k in self.average], 1 - keep
            )

    def measure(self, measurement: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Runs `measurement` on the averaged weights, then puts the trained ones back."""
        now = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        result = measurement()
        self.network.load_state_dict(now)
        return result

    def save(self, folder: Path, epochs: int, best: float) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "steps": self.steps,
            "epochs": epochs,
            "best": best,
        }
        torch.save(state, folder / "checkpoint.new")
        (folder / "checkpoint.new").replace(folder / "checkpoint.pt")

    def resume(self, folder: Path) -> tuple[int, float]:
        """Epochs done and the best score so far, from the checkpoint if there is one."""
        path = folder / "checkpoint.pt"
        if not path.exists():
            return 0, -1.0
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.steps = state["steps"]
        return state["epochs"], state["best"]


def _rates(network: Network, plan: Fit) -> list[dict[str, object]]:
    """Lower layers learn slower: they know the language already."""
    depth = len(network.layers)
    groups = []
    for name, parameter in network.named_parameters():
        below = depth + 1
        if name.startswith("layers."):
            below = depth - 1 - int(name.split(".")[1])
        rate = 4 * plan.rate if name.startswith("heads.") else plan.rate * plan.layer_decay**below
        decay = plan.weight_decay if parameter.ndim > 1 else 0.0
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    return groups


def _cosine(step: int, steps: int, warm_up: float) -> float:
    rising = max(1, int(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))


def _batches(train: list[Encoded], plan: Fit, chance: random.Random) -> Iterator[list[Encoded]]:
    """Batches of like length from a shuffled corpus, in random order."""
    shuffled = sorted(train, key=lambda _: chance.random())
    pool = plan.batch * 40
    batches = []
    for start in range(0, len(shuffled), pool):
        part = sorted(shuffled[start : start + pool], key=lambda e: len(e.tokens))
        batches += [part[i : i + plan.batch] for i in range(0, len(part), plan.batch)]
    chance.shuffle(batches)
    yield from batches[: plan.steps_per_epoch]


def _id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"The tokenizer does not know {token}.")
    return found


def _log(path: Path, epoch: int, loss: float, shares: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["epoch", "loss", *shares])
        writer.writerow([epoch + 1, f"{loss:.5f}", *(f"{v:.5f}" for v in shares.values())])
