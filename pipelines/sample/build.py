"""Cuts the bundled sample out of StockNet: `python pipelines/sample/build.py STOCKNET_FOLDER`.

The folder holds `stocknet_tweets.jsonl.gz`, one tweet a line with `id`, `created_at`, `ticker` and
`text`, ordered by time. Equal input gives an equal file, byte for byte.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

START, END = "2014-01-20", "2014-06-16"
"""UTC, end excluded: the longest stretch of whole weeks in which collection never stopped."""

TICKERS = frozenset(
    [
        "AAPL",
        "AMZN",
        "BA",
        "BAC",
        "CAT",
        "CELG",
        "CMCSA",
        "CSCO",
        "CVX",
        "DIS",
        "FB",
        "GE",
        "GOOG",
        "HD",
        "INTC",
        "JNJ",
        "JPM",
        "KO",
        "MA",
        "MCD",
        "MRK",
        "MSFT",
        "ORCL",
        "PCLN",
        "PFE",
        "PG",
        "VZ",
        "WFC",
        "WMT",
        "XOM",
    ]
)
"""Those most written about, without `$C`, `$D`, `$T` and `$V`, which mostly mean something else."""

TARGET = Path(__file__).with_name("stocknet_sample.jsonl.gz")

_CASHTAG = re.compile(r"(?<!\w)\$([A-Za-z]{1,5})\b")


def select(lines: Iterator[str]) -> Iterator[str]:
    """The lines of the period that were collected under one of `TICKERS` or carry its cashtag."""
    for line in lines:
        tweet = json.loads(line)
        if START <= tweet["created_at"] < END:
            cashtags = {tag.upper() for tag in _CASHTAG.findall(tweet["text"])}
            if tweet["ticker"] in TICKERS or cashtags & TICKERS:
                yield line


def main(folder: Path) -> None:
    """Writes `TARGET` anew."""
    with gzip.open(folder / "stocknet_tweets.jsonl.gz", "rt", encoding="utf-8") as source:
        lines = list(select(source))
    TARGET.write_bytes(gzip.compress("".join(lines).encode(), compresslevel=9, mtime=0))
    print(f"{TARGET.name}: {len(lines):,} messages, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python pipelines/sample/build.py STOCKNET_FOLDER")
    main(Path(sys.argv[1]))
