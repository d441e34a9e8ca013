"""Makes hostile text harmless to read: what would reorder or hide characters is shown by name.

Escaping of HTML is the template's work (autoescape); this is about what escaping leaves alone.
"""

import html
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alerting.inert import visible as visible

MAX_CHARACTERS = 1_200
"""No more of one message is shown; the page says how much was left out."""

LEVELS = 4
"""Steps of intensity of a highlighted word."""

_FAINTEST = 0.2
"""Words below this share of the heaviest one are not highlighted."""

_DEEPEST = 0.2
"""A weight (log-probability) from which a word may have the deepest highlight: where no word moves
the model, none is to look as if it did."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text to show; `level` 0 is plain, 1 to `LEVELS` highlighted ever more."""

    text: str
    level: int = 0


def label(text: str) -> str:
    """A name for a chart, on one line: Plotly reads a small HTML in labels, so it is escaped."""
    line = " ".join(visible(unicodedata.normalize("NFC", text)).split())
    return html.escape(line[:80], quote=False)


def pieces(text: str, words: Sequence[tuple[int, int, float]]) -> tuple[Piece, ...]:
    """Cuts `text` at the words that weigh most.

    `words` holds (start, end, weight), offsets into `text`; only positive weights, which speak for
    the label, are highlighted. Spans that overlap or lie outside the text are skipped.
    """
    return tuple(_cut(text[:MAX_CHARACTERS], words))


def _cut(text: str, words: Sequence[tuple[int, int, float]]) -> Iterator[Piece]:
    heaviest = max((_DEEPEST, *(weight for *_, weight in words)))
    at = 0
    for start, end, weight in sorted(words):
        if at <= start < end <= len(text) and weight >= _FAINTEST * heaviest:
            if at < start:
                yield Piece(visible(text[at:start]))
            yield Piece(visible(text[start:end]), max(1, round(LEVELS * weight / heaviest)))
            at = end
    if at < len(text):
        yield Piece(visible(text[at:]))
