"""The one normalisation of text that training, serving and the cache share."""

import html
import re
import unicodedata

NORMALISATION_VERSION = 1
"""Raised whenever `normalise` answers differently; an artifact names the version it learned."""

MAX_CHARACTERS = 4_000
"""No more of a text is read: the model sees 96 tokens, which never reach as far."""

_URL = re.compile(r"\b(?:https?(?::/{0,2}|(?=\.\.))|www\.)\S*", re.IGNORECASE)
_RETWEET = re.compile(r"\A(?:\s*RT\s+@\w+\s*:\s*)+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_UNREADABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")


def normalise(text: str) -> str:
    """The text as the model reads it; equal results share a place in the cache.

    HTML entities are unescaped, compatibility forms folded (NFKC), links, retweet prefixes, control
    characters and lone surrogates removed, and white space is collapsed. Never raises.
    """
    text = unicodedata.normalize("NFKC", html.unescape(text[:MAX_CHARACTERS]))[:MAX_CHARACTERS]
    text = _UNREADABLE.sub(" ", _INVISIBLE.sub("", text))
    return " ".join(_RETWEET.sub("", _URL.sub(" ", text)).split())
