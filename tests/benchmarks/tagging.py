"""Speed of tagging, in one run beside `transformers.pipeline`.

`python -m tests.benchmarks.tagging FILE`; needs the extra `train`.

The pipeline runs BERT-base in fp32 with random weights (its speed does not depend on them) at its
default, one text at a time, and at the better of batches of 8 and 32.
"""

import argparse
import csv
import gzip
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    pipeline,
)

from models.artifact import DEFAULT_ARTIFACT, TOKENIZER, load_artifact
from models.tagger import Tagger
from models.text import normalise

AT_ONCE = 1_024


def read_texts(path: Path) -> Iterator[str]:
    """The `text` of each row of JSON Lines or CSV, plain or as .gz, else each line."""
    opened = gzip.open if path.suffix == ".gz" else open
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        if kind == "csv":
            yield from (row["text"] for row in csv.DictReader(file))
        elif kind == "jsonl":
            yield from (json.loads(line)["text"] for line in file)
        else:
            yield from (line.rstrip("\n") for line in file)


def rate(run: Callable[[Sequence[str]], object], texts: Sequence[str], rounds: int = 1) -> float:
    """Texts a second, the best of `rounds`."""
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        run(texts)
        best = max(best, len(texts) / (time.perf_counter() - start))
    return best


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="texts: JSON Lines, CSV or lines, may be .gz")
    parser.add_argument("--texts", type=int, default=10_000, help="texts of the stream to take")
    parser.add_argument("--pipeline-texts", type=int, default=96, help="texts for the pipeline")
    arguments = parser.parse_args()

    stream = list(islice(read_texts(arguments.file), arguments.texts))
    by_content = {normalise(text): text for text in stream}
    distinct = list(by_content.values())
    tokens = [len(e.ids) for e in load_artifact().tokenizer.encode_batch(list(by_content))]
    mean = sum(tokens) / len(tokens)
    print(f"{len(stream)} texts, {len(distinct)} distinct, {mean:.1f} tokens each")

    tagger = Tagger(cache_size=0)
    tagger.warm_up()
    print(tagger.identity.numeric_path)
    bare = rate(in_chunks(tagger), distinct, rounds=2)
    print(f"tagger without cache      {bare:8.1f} texts/s")

    classify = bert_base_pipeline()
    few = distinct[:: max(1, len(distinct) // arguments.pipeline_texts)]
    classify(few[:4])
    alone = rate(lambda texts: classify(list(texts)), few)
    print(f"pipeline, its default     {alone:8.1f} texts/s   {bare / alone:6.1f} times slower")
    batched = max(rate(partial(classify, batch_size=size), few) for size in (8, 32))
    print(f"pipeline, best of 8, 32   {batched:8.1f} texts/s   {bare / batched:6.1f} times slower")

    caching = Tagger()
    caching.warm_up()
    streamed = rate(in_chunks(caching), stream)
    seen = caching.cache_hits + caching.cache_misses
    print(
        f"tagger, stream in order   {streamed:8.1f} texts/s   "
        f"{caching.cache_hits / seen:.1%} from the cache"
    )


if __name__ == "__main__":
    main()
