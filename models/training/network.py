"""The network that is trained: a MiniLM encoder with two heads, able to imitate its int8 self."""

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.artifact import Architecture
from models.tags import HEADS


class QuantisedLinear(nn.Linear):
    """A linear layer that, once `quantising`, rounds as the artifact does, passing gradients on.

    Weights: symmetric int8, a scale for each output channel. Input: its channels evened out, then
    uint8 with one static scale and zero point (straight-through estimator, Bengio 2013; Jacob 2018
    for the arithmetic).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.quantising = False
        self.low, self.high = 0.0, 1.0
        self.smoothing: Tensor | None
        self.register_buffer("smoothing", None, persistent=False)

    def smooth(self, channels: Tensor) -> None:
        """Divides the input by `channels` from now on; the weights make up for it."""
        self.smoothing = channels
        self.weight.data.mul_(channels)

    def input_grid(self) -> tuple[float, int]:
        """Scale and zero point of the input's uint8."""
        scale = (self.high - self.low) / 255
        return scale, round(-self.low / scale)

    def weight_scale(self) -> Tensor:
        """One positive scale for each output channel, shape (outputs, 1)."""
        return (self.weight.detach().abs().amax(1, keepdim=True) / 127).clamp(min=1e-8)

    def forward(self, states: Tensor) -> Tensor:
        if self.smoothing is not None:
            states = states / self.smoothing
        if not self.quantising:
            return super().forward(states)
        states = states.float()  # bf16 would blur the grid
        scale, zero = self.input_grid()
        rounded = ((states / scale).round() + zero).clamp(0, 255).sub(zero) * scale
        inside = states.clamp(-zero * scale, (255 - zero) * scale)
        states = inside + (rounded - inside).detach()
        grid = self.weight_scale()
        weight = self.weight + ((self.weight / grid).round() * grid - self.weight).detach()
        return nn.functional.linear(states, weight, self.bias)


class Layer(nn.Module):
    """One block of BERT: attention, then two dense layers, normalised after each residual sum."""

    def __init__(self, sizes: Architecture, dropout: float) -> None:
        super().__init__()
        self.attention_heads = sizes.attention_heads
        self.dropout = nn.Dropout(dropout)
        self.attention_in = QuantisedLinear(sizes.width, 3 * sizes.width)
        self.attention_out = QuantisedLinear(sizes.width, sizes.width)
        self.attention_norm = nn.LayerNorm(sizes.width, eps=sizes.layer_norm_epsilon)
        self.dense_in = QuantisedLinear(sizes.width, sizes.inner_width)
        self.dense_out = QuantisedLinear(sizes.inner_width, sizes.width)
        self.dense_norm = nn.LayerNorm(sizes.width, eps=sizes.layer_norm_epsilon)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = states.shape
        split = self.attention_in(states).view(batch, length, 3, self.attention_heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        # Written out: for short texts twice as fast on a CPU as PyTorch's fused attention.
        scores = query @ key.transpose(2, 3) / math.sqrt(key.shape[-1])
        attention = scores.masked_fill(~mask, -1e4).softmax(-1).to(value.dtype)
        mixed = (attention @ value).transpose(1, 2).reshape(batch, length, width)
        mixed = self.attention_out(mixed)
        states = self.attention_norm(states + self.dropout(mixed))
        inner = self.dense_out(nn.functional.gelu(self.dense_in(states)))
        output: Tensor = self.dense_norm(states + self.dropout(inner))
        return output


class Network(nn.Module):
    """Token ids -> logits of both heads, over mean-pooled states."""

    def __init__(self, sizes: Architecture, dropout: float = 0.1) -> None:
        super().__init__()
        self.sizes = sizes
        self.dropout = nn.Dropout(dropout)
        self.words = nn.Embedding(sizes.vocabulary, sizes.width)
        self.positions = nn.Embedding(sizes.max_tokens, sizes.width)
        self.norm = nn.LayerNorm(sizes.width, eps=sizes.layer_norm_epsilon)
        self.layers = nn.ModuleList(Layer(sizes, dropout) for _ in range(sizes.layers))
        self.heads = nn.ModuleDict(
            {name: nn.Linear(sizes.width, len(labels)) for name, labels in HEADS.items()}
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """`tokens`: (batch, length) ids; `mask`: the same shape, true where a token stands."""
        states = self.states(tokens, mask)
        weight = mask.unsqueeze(-1).to(states.dtype)
        pooled = self.dropout((states * weight).sum(1) / weight.sum(1))
        return {name: head(pooled).float() for name, head in self.heads.items()}

    def states(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The last layer's states, (batch, length, width)."""
        states: Tensor = self.words(tokens) + self.positions.weight[: tokens.shape[1]]
        states = self.dropout(self.norm(states))
        for layer in self.layers:
            states = layer(states, mask[:, None, None, :])
        return states

    def quantised_layers(self) -> dict[str, QuantisedLinear]:
        """The layers that run in int8, by the name of their tensors."""
        return {n: m for n, m in self.named_modules() if isinstance(m, QuantisedLinear)}

    def imitate_int8(self, on: bool) -> None:
        """Switches the rounding of the artifact on or off; activation ranges must be set before."""
        for layer in self.quantised_layers().values():
            layer.quantising = on


def pretrained(folder: Path, sizes: Architecture) -> Network:
    """all-MiniLM-L6-v2 from its Hugging Face folder, its first `sizes.layers`.

    New are the heads, and the words that `sizes.vocabulary` has beyond the encoder's: those begin
    as the mean word.
    """
    source = load_file(folder / "model.safetensors")
    words = source["embeddings.word_embeddings.weight"]
    added = words.mean(0, keepdim=True).repeat(sizes.vocabulary - len(words), 1)
    network = Network(sizes)
    positions = source["embeddings.position_embeddings.weight"][: sizes.max_tokens]
    state = {
        "words.weight": torch.cat([words, added + added.std() * torch.randn(added.shape)]),
        "positions.weight": positions + source["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": source["embeddings.LayerNorm.weight"],
        "norm.bias": source["embeddings.LayerNorm.bias"],
    }
    theirs = {
        "attention_out": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "dense_in": "intermediate.dense",
        "dense_out": "output.dense",
        "dense_norm": "output.LayerNorm",
    }
    for i in range(sizes.layers):
        prefix = f"encoder.layer.{i}"
        for kind in ("weight", "bias"):
            parts = [
                source[f"{prefix}.attention.self.{n}.{kind}"] for n in ("query", "key", "value")
            ]
            state[f"layers.{i}.attention_in.{kind}"] = torch.cat(parts)
            for ours, name in theirs.items():
                state[f"layers.{i}.{ours}.{kind}"] = source[f"{prefix}.{name}.{kind}"]
    for name, head in network.heads.items():
        assert isinstance(head, nn.Linear)
        nn.init.normal_(head.weight, std=1 / math.sqrt(sizes.width) / 4)
        nn.init.zeros_(head.bias)
        state |= {f"heads.{name}.{k}": v for k, v in head.state_dict().items()}
    network.load_state_dict(state)
    return network
