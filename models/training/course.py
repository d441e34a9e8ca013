"""The stages in their order: hidden words, teachers, their average, the student, int8."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from models.training.card import AblationStep
from models.training.corpora import Example
from models.training.fitting import Answers, Encoded, accuracies, encode, fit, logits, taught
from models.training.learning import Scores, device
from models.training.masking import train_on_hidden_words
from models.training.material import Material
from models.training.network import Network
from models.training.quantising import (
    round_embeddings,
    set_activation_ranges,
    smooth,
)
from models.training.recipes import Distilling, Masking, Plan, Tuning

CALIBRATION_TEXTS = 300
State = dict[str, Tensor]


class Course:
    """One training by a plan; what each stage reached on the select split is in `ablation`.

    `seconds`: how long its stages learned, those of earlier runs in it.
    """

    def __init__(
        self, network: Network, material: Material, tokenizer: Tokenizer, plan: Plan, work: Path
    ) -> None:
        """`network`: the pretrained encoder with new heads. `work`: where the stages keep files."""
        self.network, self.material, self.tokenizer, self.plan = network, material, tokenizer, plan
        self.train = encode(material.train, tokenizer)
        self.select = encode(material.select, tokenizer)
        self.ablation: list[AblationStep] = []
        self.seconds = 0.0
        self._work = work
        self._chain = hashlib.sha256(repr((plan.encoder, plan.seed)).encode())
        for part in (material.train, material.select, material.unlabelled):
            self._chain.update(repr(part).encode())

    def run(self) -> Network:
        """The finished network in full precision."""
        if self.plan.masking:
            if self.plan.ablation:
                self._plain_tuning()
            self._hidden_words(self.plan.masking)
        self._teach()
        return self.network

    def round(self) -> None:
        """Puts the network on the artifact's grids, and trains on there if that costs too much."""
        self.network.cpu()
        before = mean_score(accuracies(logits(self.network, self.select), self.select))
        round_embeddings(self.network)
        calibration = self.train[:CALIBRATION_TEXTS]
        smooth(self.network, calibration)
        set_activation_ranges(self.network, calibration, self.select)
        scores = accuracies(logits(self.network, self.select), self.select)
        if before - mean_score(scores) > self.plan.rounding.tolerated_loss:
            self.network.words.requires_grad_(False)
            scores = self._tuned("int8", self.train, self.plan.rounding.tuning, 90)
            self.network.cpu()
        self._note("int8", scores)

    def _plain_tuning(self) -> None:
        """What tuning alone reaches; the network is put back."""
        start = _copied(self.network)
        self._note("fine-tuning alone", self._tuned("plain", self.train, self.plan.tuning, 1))
        self.network.load_state_dict(start)

    def _hidden_words(self, plan: Masking) -> None:
        outcome = train_on_hidden_words(
            self.network,
            self.material.training_texts + self.material.sample(plan.unlabelled),
            [str(e.text) for e in self.material.splits["select"]],
            self.tokenizer,
            plan,
            self._folder("hidden-words", plan),
            self.plan.seed,
        )
        self.seconds += outcome.seconds
        self._chain.update(repr(plan).encode())

    def _teach(self) -> None:
        """Tunes the teachers, goes on from the best of them and their average, and distils."""
        start, teachers, scores = _copied(self.network), [], []
        for i in range(self.plan.teachers):
            self.network.load_state_dict(start)
            name = f"teacher-{i + 1}"
            scores.append(self._tuned(name, self.train, self.plan.tuning, i + 1))
            teachers.append(_copied(self.network))
        before = "masked-language training first" if self.plan.masking else "fine-tuning"
        self._note(before, scores[0])
        if len(teachers) > 1:
            teachers.append(_averaged(teachers))
            self.network.load_state_dict(teachers[-1])
            scores.append(accuracies(logits(self.network, self.select), self.select))
            self._note(f"weights of {self.plan.teachers} seeds averaged", scores[-1])
        best = max(range(len(teachers)), key=lambda i: mean_score(scores[i]))
        if self.plan.distilling:
            self._distil(teachers[: self.plan.teachers], teachers[best], self.plan.distilling)
        else:
            self.network.load_state_dict(teachers[best])

    def _distil(self, teachers: list[State], start: State, plan: Distilling) -> None:
        self._chain.update(repr((self.plan.tuning, self.plan.teachers)).encode())
        extra = [Example(t, "unlabelled") for t in self.material.sample(plan.unlabelled)]
        texts = self.train + encode(extra, self.tokenizer)
        folder = self._folder("student", plan)
        answers = self._opinions(teachers, texts, folder / "opinions.pt")
        together = self._opinions(teachers, self.select, folder / "select.pt")
        self._note(
            f"{len(teachers)} seeds asked together (does not ship)",
            accuracies(together, self.select),
        )
        self.network.load_state_dict(start)
        scores = self._tuned("student", taught(texts, answers), plan, 50)
        self._note("distilled into one", scores)

    def _opinions(self, teachers: list[State], texts: list[Encoded], path: Path) -> Answers:
        """Logarithms of the teachers' mean probabilities."""
        if path.exists():
            kept: Answers = torch.load(path, weights_only=True)
            return kept
        total: Answers = {}
        for state in teachers:
            self.network.load_state_dict(state)
            with torch.autocast(device().type, torch.bfloat16):
                for head, values in logits(self.network.to(device()), texts).items():
                    total[head] = total.get(head, 0.0) + values.softmax(1) / len(teachers)
        answers = {head: values.clamp(min=1e-8).log() for head, values in total.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(answers, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
        return answers

    def _tuned(self, name: str, train: list[Encoded], plan: Tuning, seed: int) -> Scores:
        folder = self._folder(name, plan)
        seed += 1_000 * self.plan.seed
        outcome = fit(self.network, train, self.select, self.tokenizer, plan, folder, seed)
        self.seconds += outcome.seconds
        return outcome.scores

    def _folder(self, name: str, settings: object) -> Path:
        """A stage's own folder: other settings or other data have another."""
        chain = self._chain.copy()
        chain.update(repr((name, settings)).encode())
        return self._work / f"{name}-{chain.hexdigest()[:12]}"

    def _note(self, name: str, scores: Scores) -> None:
        self.ablation.append(AblationStep(name, scores))


def _copied(network: Network) -> State:
    return {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


def _averaged(states: Sequence[State]) -> State:
    """The mean of the weights (model soup, Wortsman et al. 2022)."""
    return {k: torch.stack([s[k] for s in states]).mean(0) for k in states[0]}


def mean_score(scores: Scores) -> float:
    """What decides between networks: the mean over the sources of labels."""
    return sum(scores.values()) / len(scores)
