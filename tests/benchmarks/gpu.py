"""Speed of tagging on a GPU: `python -m tests.benchmarks.gpu [FILE]`; needs the extra `gpu`.

For each token budget of a batch: messages a second end to end (texts in, tags out, no cache) beside
its parts: normalising and tokenising alone, the back end on batches that are filled already, and
the bare forward pass on tokens that lie on the GPU. Then the back end by padded length. Without
FILE it reads the tweets of the sample that ships, repeated.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from models.artifact import load_artifact
from models.backends.base import Backend, BackendError, TokenBatch
from models.backends.choice import choose
from models.backends.pytorch import ArtifactNetwork, artifact_backend
from models.serving import Model
from models.tagger import Tagger
from models.text import normalise
from tests.benchmarks.texts import SAMPLE, machine, rate, read_texts

BUDGETS = (8_192, 16_384, 32_768, 65_536, 131_072)
LENGTHS = (8, 16, 24, 32, 48, 64, 96)


def filled(model: Model, texts: list[str]) -> list[TokenBatch]:
    """The batches that the tagger would hand to the back end."""
    return list(model._batches(texts, np.empty(len(texts), np.int64), []))


def answer(backend: Backend, batches: list[TokenBatch]) -> None:
    for _ in backend.logits(batches):
        pass


def forward(network: ArtifactNetwork, there: list[torch.Tensor]) -> None:
    with torch.inference_mode():
        for tokens in there:
            network(tokens)
    torch.cuda.synchronize()


def rate_of(run: Callable[[], None], texts: int) -> float:
    """Texts a second, the better of two after one that warms up."""
    run()
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return texts / min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=SAMPLE, help="texts; may be .gz")
    parser.add_argument("--texts", type=int, default=200_000, help="texts to tag")
    arguments = parser.parse_args()
    try:
        choose("cuda")
    except BackendError as error:
        sys.exit(f"This benchmark needs a GPU: {error}")

    texts = list(islice(cycle(read_texts(arguments.file)), arguments.texts))
    # Each text is its own, or the tagger would tag the repeated ones once.
    texts = [f"{text} {i}" for i, text in enumerate(texts)]
    print(f"{torch.cuda.get_device_name()}, {machine()}")
    artifact = load_artifact()
    tagger = Tagger(device="cuda", cache_size=0)
    model = tagger.models["sentiment"]
    normalised = [normalise(text) for text in texts]
    print(f"normalising alone {rate(lambda t: list(map(normalise, t)), texts):10.0f} texts/s")
    tokenised = rate(lambda t: list(model._tokenised(t)), normalised)
    print(f"tokenising alone  {tokenised:10.0f} texts/s")

    network = ArtifactNetwork(artifact, torch.bfloat16).to("cuda").eval()
    print("tokens of a batch   end to end     back end   bare pass  (texts/s)")
    for budget in BUDGETS:
        model.backend = backend = artifact_backend(artifact, "cuda", budget)
        batches = filled(model, normalised)
        tagger.warm_up()
        there = [torch.from_numpy(batch).to("cuda") for batch in batches]
        print(
            f"{budget:17,d} {rate(tagger.tag, texts, 2):12.0f} "
            f"{rate_of(partial(answer, backend, batches), len(texts)):12.0f} "
            f"{rate_of(partial(forward, network, there), len(texts)):11.0f}"
        )
    print(f"padded length   back end (texts/s), {BUDGETS[2]:,} tokens a batch")
    backend = artifact_backend(artifact, "cuda", BUDGETS[2])
    for length in LENGTHS:
        batches = [np.full((BUDGETS[2] // length, length), 2_000, np.int32)] * 50
        found = rate_of(partial(answer, backend, batches), sum(map(len, batches)))
        print(f"{length:13d} {found:12.0f}")


if __name__ == "__main__":
    main()
