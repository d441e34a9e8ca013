"""The one normalisation of text that training, serving and the cache share."""

import html
import re
import unicodedata

NORMALISATION_VERSION = 1
"""Raised whenever the model reads a text differently; an artifact names the version it learned."""

MAX_CHARACTERS = 4_000
"""No more of a text is read: the model sees 96 tokens, which never reach as far."""

MARK_START, MARK_END = "\ue5a0", "\ue5a1"
"""They frame the mention in a `MarkedText`; private-use characters, which no script has."""

MARKS = re.compile(f"[{MARK_START}{MARK_END}]")

_URL = re.compile(r"\b(?:https?(?::/{0,2}|(?=\.\.))|www\.)\S*", re.IGNORECASE)
_RETWEET = re.compile(r"\A(?:\s*RT\s+@\w+\s*:\s*)+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_UNREADABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")


class MarkedText(str):
    """A text whose marks were put there by `models.marking.mark`: they alone are kept."""

    __slots__ = ()


def normalise(text: str) -> str:
    """The text as the model reads it; equal results share a place in the cache.

    HTML entities are unescaped, compatibility forms folded (NFKC), links, retweet prefixes, control
    characters, marks of mentions and lone surrogates removed, and white space is collapsed. Never
    raises.
    """
    shown = _unescaped_around_marks(text) if isinstance(text, MarkedText) else _unescaped(text)
    text = unicodedata.normalize("NFKC", shown)[:MAX_CHARACTERS]
    text = _UNREADABLE.sub(" ", _INVISIBLE.sub("", text))
    return " ".join(_RETWEET.sub("", _URL.sub(" ", text)).split())


def _unescaped(text: str) -> str:
    """Without HTML entities, and without marks: an entity may have spelled one."""
    return MARKS.sub("", html.unescape(text[:MAX_CHARACTERS]))


def _unescaped_around_marks(text: MarkedText) -> str:
    before, mention, after = MARKS.split(text)
    return f"{_unescaped(before)}{MARK_START}{_unescaped(mention)}{MARK_END}{_unescaped(after)}"
