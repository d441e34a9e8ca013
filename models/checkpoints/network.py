"""A checkpoint as a PyTorch network, and its export. Needs the extra `checkpoints`."""

import warnings
from pathlib import Path

import numpy as np
import openvino
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

from models.checkpoints.checkpoint import Checkpoint, CheckpointError

_TOLERANCE = 1e-3  # of the largest logit: fp32 in another order of sums is far below


class CheckpointNetwork(nn.Module):
    """Token ids (texts, length) -> a tensor of logits for each head, columns in our order."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises `CheckpointError` where the weights are damaged or not those of a classifier."""
        super().__init__()
        self.model = _classifier(checkpoint.folder)
        self.padding = checkpoint.padding
        self.columns = [list(columns) for columns in checkpoint.columns.values()]

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        ids = tokens.long()
        mask = (ids != self.padding).long()
        logits = self.model(input_ids=ids, attention_mask=mask).logits
        return tuple(logits[:, columns].float() for columns in self.columns)


def load_network(checkpoint: Checkpoint) -> tuple[CheckpointNetwork, int]:
    """The network, and how many tokens it reads: some spend positions on padding, as RoBERTa."""
    network = CheckpointNetwork(checkpoint).eval()
    most = checkpoint.most_tokens
    for longest in (most, most - checkpoint.padding - 1):
        try:
            with torch.inference_mode():
                network(_tokens(checkpoint, 1, longest))
            return network, longest
        except (IndexError, RuntimeError) as error:  # no position for the last tokens
            reason = str(error).split("\n")[0]
    raise CheckpointError(
        f"The model in {checkpoint.folder} fails on a text of {longest} tokens ({reason}): "
        "correct max_position_embeddings in its configuration."
    )


def export(checkpoint: Checkpoint, target: Path) -> int:
    """Writes the graph as OpenVINO's IR in fp32 to `target`; returns how many tokens it reads.

    The graph is compared with the network on other shapes than the one it was traced with.
    """
    network, longest = load_network(checkpoint)
    with torch.inference_mode(), warnings.catch_warnings():
        # What tracing may miss is looked for below, in numbers.
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(
            network,
            example_input=_tokens(checkpoint, 2, min(8, longest)),
            input=[openvino.PartialShape([-1, -1])],
        )
    openvino.save_model(graph, target, compress_to_fp16=False)
    _check_export(checkpoint, network, graph, longest)
    return longest


def _classifier(folder: Path) -> nn.Module:
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # whatever is wrong with the files, each format has its own errors
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(
            f"The weights in {folder} cannot be loaded ({reason}): save the model again."
        ) from error
    if absent := sorted(loading["missing_keys"]):
        raise CheckpointError(
            f"The weights in {folder} lack {absent[0]}, so that it would be random: "
            "train the classifier before it is used."
        )
    network: nn.Module = model
    return network


def _tokens(checkpoint: Checkpoint, texts: int, length: int) -> Tensor:
    """Ids of real tokens, none of them padding; the later half of the first row is padding."""
    size = checkpoint.tokenizer.get_vocab_size(with_added_tokens=True)
    usable = [i for i in range(size) if i != checkpoint.padding]
    ids = np.random.default_rng(0).choice(usable, (texts, length)).astype(np.int32)
    if texts > 1:
        ids[0, length // 2 :] = checkpoint.padding
    return torch.from_numpy(ids)


def _check_export(
    checkpoint: Checkpoint, network: CheckpointNetwork, graph: openvino.Model, longest: int
) -> None:
    compiled = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for texts, length in ((1, min(12, longest)), (3, longest)):
        tokens = _tokens(checkpoint, texts, length)
        with torch.inference_mode():
            expected = torch.cat(network(tokens), dim=1).numpy()
        found = np.concatenate(list(compiled(tokens.numpy()).values()), axis=1)
        worst = float(np.abs(found - expected).max())
        if not worst <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise CheckpointError(
                f"The model in {checkpoint.folder} computes other logits after its export (by "
                f"{worst:.2g}): OpenVINO does not support its architecture; use another."
            )
