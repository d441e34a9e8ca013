"""How well companies are recognised: `python -m models.entities.measure MENTIONS.jsonl`.

Prints precision and recall with their 95 % intervals (Wilson) on the texts kept for the report, for
all of them, by part, and by how the company is spoken of. `--develop` takes the others instead.
"""

import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from models.entities.recogniser import Recogniser

USAGE = "usage: python -m models.entities.measure MENTIONS.jsonl [--develop] [--errors]"


class Labelled(msgspec.Struct, frozen=True):
    """One labelled text and the companies it speaks of; `split` is develop or report."""

    source: str
    part: str
    split: str
    at: datetime
    given: tuple[str, ...]
    text: str
    entities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Pairs of text and company: found and right, found and wrong, missed."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


def read(path: Path, split: str) -> list[Labelled]:
    """The labelled texts of one split."""
    rows = [msgspec.json.decode(line, type=Labelled) for line in path.read_bytes().splitlines()]
    return [row for row in rows if row.split == split]


def score(recogniser: Recogniser, rows: Iterable[Labelled]) -> Score:
    """Compares what is recognised with the labels, text by text."""
    right = wrong = missed = 0
    for row in rows:
        found = set(recogniser.recognise(row.text, at=row.at, given=row.given).entities)
        expected = set(row.entities)
        right += len(found & expected)
        wrong += len(found - expected)
        missed += len(expected - found)
    return Score(right, wrong, missed)


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) of nothing."""
    if trials == 0:
        return 0.0, 1.0
    z = 1.959964
    share, spread = hits / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / trials + spread / 4 / trials) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def report(recogniser: Recogniser, rows: Sequence[Labelled]) -> str:
    """A table: one line for all texts and one for each kind of text."""
    groups = {
        "all": rows,
        "drawn at random": [row for row in rows if row.part == "random"],
        "ambiguous on purpose": [row for row in rows if row.part == "hard"],
        "with a cashtag": [row for row in rows if "$" in row.text],
        "names alone": [row for row in rows if "$" not in row.text],
    }
    lines = [f"{'texts':22}{'texts':>6}{'labels':>8}  {'precision':24}{'recall':24}"]
    for name, group in groups.items():
        labels = sum(len(row.entities) for row in group)
        found = score(recogniser, group)
        precision = _share(found.right, found.right + found.wrong)
        recall = _share(found.right, found.right + found.missed)
        lines.append(f"{name:22}{len(group):6}{labels:8}  {precision:24}{recall:24}")
    return "\n".join(lines)


def errors(recogniser: Recogniser, rows: Iterable[Labelled]) -> str:
    """Each text that was recognised otherwise than labelled."""
    lines = []
    for row in rows:
        found = set(recogniser.recognise(row.text, at=row.at, given=row.given).entities)
        if wrong := found - set(row.entities):
            lines.append(f"wrong  {' '.join(sorted(wrong)):12} {json.dumps(row.text)}")
        if missed := set(row.entities) - found:
            lines.append(f"missed {' '.join(sorted(missed)):12} {json.dumps(row.text)}")
    return "\n".join(lines)


def _share(hits: int, trials: int) -> str:
    low, high = wilson(hits, trials)
    return f"{hits / max(1, trials):.3f} [{low:.3f}, {high:.3f}]"


def main(arguments: Sequence[str]) -> None:
    """The command."""
    paths = [Path(argument) for argument in arguments if not argument.startswith("--")]
    options = {argument for argument in arguments if argument.startswith("--")}
    if len(paths) != 1 or options - {"--develop", "--errors"}:
        sys.exit(USAGE)
    rows = read(paths[0], "develop" if "--develop" in options else "report")
    recogniser = Recogniser.default()
    print(report(recogniser, rows))
    if "--errors" in options:
        print(errors(recogniser, rows))


if __name__ == "__main__":
    main(sys.argv[1:])
