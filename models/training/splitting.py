"""Splits without leaks: what is nearly the same text stays on one side."""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from datasketch import MinHash, MinHashLSH

from models.text import normalise
from models.training.corpora import Example

SPLITS = {"train": 0.82, "select": 0.06, "calibrate": 0.06, "test": 0.06}
ENTITY_SPLITS = {"train": 0.70, "select": 0.08, "calibrate": 0.02, "test": 0.20}
"""For headlines whose entities differ: few, so that figures on them need a larger share."""

LARGEST_HELD_OUT_GROUP = 40
"""Larger groups of near-duplicates train: held out, one template would fill a whole split."""

_MASKED = re.compile(r"\$[A-Za-z][\w.]*|@\w+|\d[\d,.]*|[^\w\s]")
_PERMUTATIONS = 64

Splits = dict[str, list[Example]]


def split_corpus(examples: list[Example], seed: int, shares: dict[str, float] = SPLITS) -> Splits:
    """Cuts every set by `shares`; a group of near-duplicates stays on one side."""
    groups = near_duplicate_groups([example.text for example in examples])
    random.Random(seed).shuffle(groups)
    sizes: dict[str, int] = defaultdict(int)
    for example in examples:
        sizes[example.source] += 1
    taken: dict[tuple[str, str], int] = defaultdict(int)
    splits: Splits = {name: [] for name in shares}
    for group in groups:
        source = examples[group[0]].source
        name = "train"
        if len(group) <= LARGEST_HELD_OUT_GROUP:
            name = min(shares, key=lambda s: taken[s, source] / (shares[s] * sizes[source]))
        splits[name] += [examples[i] for i in group]
        for i in group:
            taken[name, examples[i].source] += 1
    return splits


def near_duplicate_groups(texts: list[str], threshold: float = 0.6) -> list[list[int]]:
    """Indices of texts grouped by MinHash over pairs of words, with numbers and tickers masked.

    Grouping is transitive: what is near a member belongs to the group. `threshold` is the Jaccard
    similarity (Broder 1997).
    """
    lsh = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen: dict[str, int] = {}
    for i, text in enumerate(texts):
        masked = _masked(text)
        if masked in seen:
            parent[i] = root(seen[masked])
            continue
        seen[masked] = i
        sketch = _sketch(masked)
        for j in lsh.query(sketch):
            parent[root(j)] = root(i)
        lsh.insert(i, sketch)
    members: dict[int, list[int]] = defaultdict(list)
    for i in range(len(texts)):
        members[root(i)].append(i)
    return list(members.values())


class Nearness:
    """Answers whether a text is nearly one of those given."""

    def __init__(self, texts: Iterable[str], threshold: float = 0.6) -> None:
        self._lsh = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
        self._texts = sorted({_masked(text) for text in texts})
        self._known = frozenset(self._texts)
        for i, text in enumerate(self._texts):
            self._lsh.insert(i, _sketch(text))

    def __contains__(self, text: str) -> bool:
        masked = _masked(text)
        return masked in self._known or bool(self._lsh.query(_sketch(masked)))


def held_out(splits: Splits) -> list[str]:
    """The texts of every split but the one that trains."""
    return [e.text for name, part in splits.items() if name != "train" for e in part]


def far_from(near: Nearness, texts: Sequence[str]) -> list[str]:
    """Those of `texts` that are near none, in their order, without repeats."""
    distinct = {normalise(text): text for text in reversed(texts)}
    return [text for text in reversed(distinct.values()) if text not in near]


def _masked(text: str) -> str:
    """Without numbers, tickers and marks of mentions, in lower case."""
    return " ".join(_MASKED.sub(" ", normalise(str(text))).lower().split())


def _sketch(masked: str) -> MinHash:
    words = ["", *masked.split(), ""]
    sketch = MinHash(num_perm=_PERMUTATIONS, seed=1)
    sketch.update_batch({f"{a} {b}".encode() for a, b in pairwise(words)})
    return sketch
