"""SEntFiN 1.0: headlines with a sentiment for each entity that they name."""

import ast
import re
from dataclasses import dataclass

_DECISION = re.compile(
    r"""(['"])(?P<name>.+?)\1\s*:\s*(['"])(?P<label>negative|neutral|positive)\3"""
)
_SPELLED = {"neutral": "(?:neutral|hold)", "negative": "(?:negative|sell)"}
"""In 16 rows of the set these words replace a part of the name: "Rusnegative" is "Russell"."""


@dataclass(frozen=True)
class Decision:
    """The sentiment of one entity; `title[start:end]` names it, both 0 where it is not found."""

    entity: str
    label: str
    start: int
    end: int


@dataclass(frozen=True)
class Headline:
    """A headline and its decisions. `repaired`: the row is broken, its pairs were picked out."""

    title: str
    decisions: list[Decision]
    repaired: bool


def headline(title: str, cell: str) -> Headline:
    """Reads a title and its cell of the column "Decisions".

    The cell is a Python dictionary. Where quotes inside a name break it, its pairs are found one by
    one.
    """
    try:
        pairs, repaired = dict(ast.literal_eval(cell)), False
    except (SyntaxError, ValueError, TypeError):
        pairs = {found["name"]: found["label"] for found in _DECISION.finditer(cell)}
        repaired = True
    found = [_located(title, str(entity), str(label)) for entity, label in pairs.items()]
    return Headline(title, found, repaired)


def _located(title: str, entity: str, label: str) -> Decision:
    pattern = re.escape(entity)
    for word, spelled in _SPELLED.items():
        pattern = pattern.replace(word, spelled)
    found = re.search(rf"(?<!\w){pattern}(?!\w)", title, re.IGNORECASE)
    found = found or re.search(pattern, title, re.IGNORECASE)
    start, end = found.span() if found else (0, 0)
    return Decision(entity, label, start, end)
