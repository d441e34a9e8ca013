"""Kinds of texts on which a model may do worse than on the whole."""

import re
from collections.abc import Iterator

from models.text import normalise

SHORT, LONG, CASHTAGS = 5, 40, 4

SLICES = {
    "short": f"at most {SHORT} words",
    "long": f"over {LONG} words",
    "cashtag list": f"{CASHTAGS} cashtags or more",
    "with numbers": "at least one digit",
    "without numbers": "no digit",
}
"""What is in each slice, counted in what the model reads: without links and retweet prefixes."""

_CASHTAG = re.compile(r"(?<![\w$])\$[A-Za-z][\w.]*")
_DIGIT = re.compile(r"\d")


def slices_of(text: str) -> Iterator[str]:
    """The names of the slices that a text belongs to."""
    read = normalise(text)
    words = len(read.split())
    if words <= SHORT:
        yield "short"
    elif words > LONG:
        yield "long"
    if len(_CASHTAG.findall(read)) >= CASHTAGS:
        yield "cashtag list"
    yield "with numbers" if _DIGIT.search(read) else "without numbers"
