"""Speed of tagging on the CPU, in one run beside `transformers.pipeline` and plain PyTorch.

`python -m tests.benchmarks.tagging [FILE]`; needs the extra `checkpoints`. Without FILE it reads
the tweets of the sample that ships, in the order of the stream.

The pipeline runs BERT-base in fp32 with random weights (its speed does not depend on them) at its
default, one text at a time, and at the better of batches of 8 and 32. PyTorch runs the shipped
model: its network in fp32, and the GPU's back end on the CPU.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    pipeline,
)

from models.artifact import DEFAULT_ARTIFACT, TOKENIZER, load_artifact
from models.backends.pytorch import PyTorchBackend, artifact_backend
from models.tagger import Tagger
from models.text import normalise
from models.training.network import Network
from tests.benchmarks.texts import SAMPLE, machine, rate, read_texts

AT_ONCE = 1_024


class Float32(torch.nn.Module):
    """The shipped model's network in plain fp32, as training computes it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(load_artifact().config.architecture)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.network(tokens, tokens != 0).values())


def bert_base_pipeline() -> Any:
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(DEFAULT_ARTIFACT / TOKENIZER), pad_token="[PAD]", model_max_length=512
    )
    model: Any = BertForSequenceClassification(BertConfig())
    return pipeline("text-classification", model=model.eval(), tokenizer=tokenizer)


def in_chunks(tagger: Tagger) -> Callable[[Sequence[str]], None]:
    def run(texts: Sequence[str]) -> None:
        for start in range(0, len(texts), AT_ONCE):
            tagger.tag(texts[start : start + AT_ONCE])

    return run


def latencies(tagger: Tagger, texts: Sequence[str]) -> tuple[float, float]:
    """Median and 99th percentile of the milliseconds that one message takes alone."""
    taken = []
    for text in texts:
        start = time.perf_counter()
        tagger.tag([text])
        taken.append((time.perf_counter() - start) * 1e3)
    median, tail = np.quantile(taken, [0.5, 0.99])
    return float(median), float(tail)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=SAMPLE, help="texts; may be .gz")
    parser.add_argument("--texts", type=int, default=10_000, help="texts of the stream to take")
    parser.add_argument("--few", type=int, default=96, help="texts for what is slow")
    arguments = parser.parse_args()

    stream = list(islice(read_texts(arguments.file), arguments.texts))
    by_content = {normalise(text): text for text in stream}
    distinct = list(by_content.values())
    tokens = [len(e.ids) for e in load_artifact().tokenizer.encode_batch(list(by_content))]
    print(machine())
    print(f"{len(stream)} texts, {len(distinct)} distinct, {np.mean(tokens):.1f} tokens each")

    tagger = Tagger(device="cpu", cache_size=0)
    tagger.warm_up()
    bare = rate(in_chunks(tagger), distinct, rounds=2)
    print(f"{'tagger without cache':<34}{bare:8.1f} texts/s  {tagger.identity.numeric_path}")
    median, tail = latencies(tagger, distinct[:: max(1, len(distinct) // 500)])
    print(f"one message alone: p50 {median:.2f} ms, p99 {tail:.2f} ms")

    def compare(name: str, found: float) -> None:
        print(f"{name:<34}{found:8.1f} texts/s  {bare / found:6.1f} times slower")

    few = distinct[:: max(1, len(distinct) // arguments.few)]
    classify = bert_base_pipeline()
    classify(few[:4])
    compare("pipeline, BERT-base, its default", rate(lambda texts: classify(list(texts)), few))
    batched = max(rate(partial(classify, batch_size=size), few) for size in (8, 32))
    compare("pipeline, BERT-base, best batch", batched)

    more = distinct[:: max(1, len(distinct) // (8 * arguments.few))]
    for name, backend in (
        ("PyTorch fp32, same model", PyTorchBackend(Float32(), "cpu", "f32")),
        ("PyTorch back end, same model", artifact_backend(load_artifact(), "cpu")),
    ):
        plain = Tagger(device="cpu", cache_size=0)
        plain.models["sentiment"].backend = backend
        plain.tag(more[:64])
        compare(name, rate(in_chunks(plain), more))

    caching = Tagger(device="cpu")
    caching.warm_up()
    streamed = rate(in_chunks(caching), stream)
    hits = caching.cache_hits / (caching.cache_hits + caching.cache_misses)
    print(f"{'tagger, stream in order':<34}{streamed:8.1f} texts/s  {hits:.1%} from the cache")


if __name__ == "__main__":
    main()
