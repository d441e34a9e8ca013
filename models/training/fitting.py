"""Tuning both heads on mixed batches, by labels, by what teachers say, or by both."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.artifact import PADDING
from models.tags import HEADS
from models.text import normalise
from models.training.batching import batches_of, padded
from models.training.corpora import UNLABELLED, Example
from models.training.learning import Outcome, Scores, device, layered_rates, learn
from models.training.masking import FIRST_WORD, LAST_WORD, mask_token
from models.training.network import Network
from models.training.recipes import Distilling, Tuning

Answers = dict[str, Tensor]


@dataclass(frozen=True)
class Encoded:
    """An example as token ids, and where teachers spoke their logits for each head."""

    tokens: list[int]
    example: Example
    taught: Answers | None = None


def encode(examples: Sequence[Example], tokenizer: Tokenizer) -> list[Encoded]:
    """Normalises and tokenises."""
    encodings = tokenizer.encode_batch_fast([normalise(e.text) for e in examples])
    return [Encoded(t.ids, e) for t, e in zip(encodings, examples, strict=True)]


def taught(encoded: Sequence[Encoded], answers: Answers) -> list[Encoded]:
    """The same examples with the teachers' logits, rows in the same order."""
    return [
        replace(one, taught={head: values[i] for head, values in answers.items()})
        for i, one in enumerate(encoded)
    ]


@torch.inference_mode()
def logits(network: Network, encoded: Sequence[Encoded]) -> Answers:
    """Logits of both heads in the order of `encoded`, each (texts, labels), on the CPU."""
    network.eval()
    place = network.words.weight.device
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].tokens))
    answers = {name: torch.empty(len(encoded), len(labels)) for name, labels in HEADS.items()}
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        batch = padded([encoded[i].tokens for i in rows], PADDING, place)
        for name, values in network(*batch).items():
            answers[name][rows] = values.cpu()
    return answers


def labels_of(encoded: Sequence[Encoded], head: str) -> Tensor:
    """The label's index for each text, `UNLABELLED` where there is none."""
    return torch.tensor([getattr(e.example, head) for e in encoded])


def accuracies(answers: Answers, encoded: Sequence[Encoded]) -> Scores:
    """The share of right answers for each source of labels."""
    shares = {}
    for source in sorted({e.example.source for e in encoded}):
        head = "topic" if source.endswith("topic") else "sentiment"
        rows = torch.tensor([e.example.source == source for e in encoded])
        right = answers[head][rows].argmax(1) == labels_of(encoded, head)[rows]
        shares[source] = float(right.float().mean())
    return shares


def fit(
    network: Network,
    train: Sequence[Encoded],
    select: Sequence[Encoded],
    tokenizer: Tokenizer,
    plan: Tuning,
    folder: Path,
    seed: int,
) -> Outcome:
    """Tunes `network` in place; see `models.training.learning.learn` for how it ends and resumes.

    The scores are the accuracies for each source of labels in `select`.
    """

    def epoch(chance: random.Random) -> list[list[Encoded]]:
        return batches_of(_drawn(train, plan, chance), lambda e: len(e.tokens), plan, chance)

    objective = _Objective(network, plan, mask_token(tokenizer))
    rates = layered_rates(network, plan, network.sizes.layers, ("heads.",))
    return learn(
        network,
        plan,
        rates,
        epoch,
        objective.loss,
        lambda: accuracies(logits(network, select), select),
        folder,
        seed,
    )


def _drawn(train: Sequence[Encoded], plan: Tuning, chance: random.Random) -> list[Encoded]:
    """The examples of an epoch: of each source the share that the plan says."""
    by_source: dict[str, list[Encoded]] = {}
    for one in train:
        by_source.setdefault(one.example.source, []).append(one)
    drawn = []
    for source, items in by_source.items():
        share = plan.mixing.get(source, 1.0)
        drawn += items if share == 1 else chance.sample(items, round(share * len(items)))
    return drawn


class _Objective:
    """What a batch costs."""

    def __init__(self, network: Network, plan: Tuning, mask_token: int) -> None:
        self.network, self.plan, self.mask_token = network, plan, mask_token
        self.soft = plan.soft if isinstance(plan, Distilling) else 0.0
        self.temperature = plan.temperature if isinstance(plan, Distilling) else 1.0

    def loss(self, batch: list[Encoded]) -> Tensor:
        tokens, mask = padded([e.tokens for e in batch], PADDING, device())
        words = (tokens >= FIRST_WORD) & (tokens < LAST_WORD)
        chance = torch.rand(tokens.shape, device=tokens.device)
        tokens = tokens.masked_fill(words & (chance < self.plan.token_masking), self.mask_token)
        passes = 2 if self.plan.consistency else 1
        with torch.autocast(tokens.device.type, torch.bfloat16):
            answers = self.network(tokens.repeat(passes, 1), mask.repeat(passes, 1))
        weights = torch.tensor([self._weight(e) for e in batch], device=tokens.device)
        total = torch.zeros((), device=tokens.device)
        for head in HEADS:
            total = total + self._head(answers[head], head, batch, weights.repeat(passes))
        return total / (passes * len(batch))

    def _weight(self, one: Encoded) -> float:
        """How much a label counts: less where teachers speak too, in full where they do not."""
        return one.example.weight * (1.0 if one.taught is None else 1.0 - self.soft)

    def _head(self, answers: Tensor, head: str, batch: list[Encoded], weights: Tensor) -> Tensor:
        passes = len(answers) // len(batch)
        labels = labels_of(batch, head).to(answers.device).repeat(passes)
        loss = nn.functional.cross_entropy(
            answers,
            labels,
            ignore_index=UNLABELLED,
            reduction="none",
            label_smoothing=self.plan.label_smoothing,
        )
        loss = (loss * weights).sum()
        if self.soft:
            loss = loss + self.soft * self._distance(answers, head, batch)
        if self.plan.consistency:
            loss = loss + self.plan.consistency * _disagreement(answers[labels != UNLABELLED])
        return loss

    def _distance(self, answers: Tensor, head: str, batch: list[Encoded]) -> Tensor:
        """Kullback-Leibler divergence from the teachers, by the temperature (Hinton 2015)."""
        said = [i for i, e in enumerate(batch) if e.taught is not None]
        if not said:
            return torch.zeros((), device=answers.device)
        rows = [i + p for p in range(0, len(answers), len(batch)) for i in said]
        teachers = torch.stack([e.taught[head] for e in batch if e.taught is not None])
        targets = (teachers.to(answers.device) / self.temperature).softmax(1)
        ours = (answers[rows] / self.temperature).log_softmax(1)
        divergence = nn.functional.kl_div(
            ours, targets.repeat(len(rows) // len(said), 1), reduction="sum"
        )
        return self.temperature**2 * divergence


def _disagreement(answers: Tensor) -> Tensor:
    """R-Drop (Liang et al. 2021): two passes under other dropout should agree."""
    first, second = answers.log_softmax(1).chunk(2)
    both = nn.functional.kl_div(first, second, reduction="sum", log_target=True)
    both = both + nn.functional.kl_div(second, first, reduction="sum", log_target=True)
    return both / 2
