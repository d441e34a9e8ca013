"""Domain-adaptive masked-language training: the encoder guesses hidden words of texts."""

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.artifact import PADDING
from models.text import normalise
from models.training.batching import batches_of, padded
from models.training.corpora import TrainingDataError
from models.training.learning import Outcome, device, layered_rates, learn
from models.training.network import Network
from models.training.recipes import Masking

FIRST_WORD, LAST_WORD = 999, 30_522
"""The vocabulary's words: special and unused tokens stand before, the marks behind."""

FEWEST_TOKENS = 6
_SCORED_TEXTS = 2_000
_FIXED_SEED = 1


def train_on_hidden_words(
    network: Network,
    texts: list[str],
    held_back: list[str],
    tokenizer: Tokenizer,
    plan: Masking,
    folder: Path,
    seed: int,
) -> Outcome:
    """Trains the encoder of `network` in place; its heads stay as they are.

    15 % of the words are guessed, most of them hidden, some replaced (Devlin et al. 2019). The
    scores are negative losses on `held_back`.
    """
    torch.manual_seed(seed)
    model = HiddenWords(network, tokenizer, plan.hidden)
    train, select = _tokens(texts, tokenizer), _tokens(held_back, tokenizer)[:_SCORED_TEXTS]

    def epoch(chance: random.Random) -> list[list[list[int]]]:
        return batches_of(train, len, plan, chance)

    rates = layered_rates(model, plan, network.sizes.layers, ("transform.", "norm.", "bias"))
    return learn(
        model,
        plan,
        rates,
        epoch,
        model.loss,
        lambda: {"guessing": -model.measure(select)},
        folder,
        seed,
    )


class HiddenWords(nn.Module):
    """The encoder, and a head that guesses words by the embeddings the encoder reads them with."""

    def __init__(self, encoder: Network, tokenizer: Tokenizer, hidden: float) -> None:
        super().__init__()
        width = encoder.sizes.width
        self.encoder = encoder
        self.transform = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(encoder.sizes.vocabulary))
        self.mask_token, self.hidden = mask_token(tokenizer), hidden

    def loss(self, batch: list[list[int]]) -> Tensor:
        """Mean cross-entropy of the guessed words."""
        tokens, mask = padded(batch, PADDING, device())
        words = (tokens >= FIRST_WORD) & (tokens < LAST_WORD)
        guessed = words & (torch.rand(tokens.shape, device=tokens.device) < self.hidden)
        fate = torch.rand(tokens.shape, device=tokens.device)
        shown = tokens.masked_fill(guessed & (fate < 0.8), self.mask_token)
        other = torch.randint(FIRST_WORD, LAST_WORD, tokens.shape, device=tokens.device)
        shown = torch.where(guessed & (fate > 0.9), other, shown)
        with torch.autocast(tokens.device.type, torch.bfloat16):
            states = self.encoder.states(shown, mask)[guessed]
            states = self.norm(nn.functional.gelu(self.transform(states)))
            guesses = nn.functional.linear(states, self.encoder.words.weight, self.bias)
        total = nn.functional.cross_entropy(guesses.float(), tokens[guessed], reduction="sum")
        return total / guessed.sum().clamp(min=1)

    @torch.inference_mode()
    def measure(self, tokens: list[list[int]]) -> float:
        """The loss over texts, the same words hidden each time."""
        self.eval()
        torch.manual_seed(_FIXED_SEED)
        parts = [tokens[i : i + 64] for i in range(0, len(tokens), 64)]
        return sum(float(self.loss(part)) for part in parts) / max(1, len(parts))


def mask_token(tokenizer: Tokenizer) -> int:
    """The id of the token that stands for a hidden word."""
    found: int | None = tokenizer.token_to_id("[MASK]")
    if found is None:
        raise TrainingDataError("The encoder's tokenizer has no token [MASK]: it is another one.")
    return found


def _tokens(texts: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    encodings = tokenizer.encode_batch_fast([normalise(text) for text in texts])
    return [e.ids for e in encodings if len(e.ids) >= FEWEST_TOKENS]
