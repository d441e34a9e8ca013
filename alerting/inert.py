"""Makes hostile text harmless to read: what would reorder or hide characters is shown by name, and
what a mail or chat program would turn into a link or a call to somebody stays text.
"""

import html
import re

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls other than tab and line breaks
    "\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_HOST_DOT = re.compile(r"(?<=\w)[.。．｡](?=[^\W\d_]{2})")
_CALLS = str.maketrans({"@": "＠", "<": "‹", ">": "›", "`": "ˋ", "[": "⟦", "]": "⟧", "|": "¦"})
"""What chats read as a mention, a link, a channel or code."""


def visible(text: str) -> str:
    """The text with HTML entities resolved and each unseen character as its code, as `⟦U+202E⟧`."""
    return exact(html.unescape(text))


def exact(text: str) -> str:
    """The text as it is, with each unseen character as its code."""
    return _UNSEEN.sub(lambda unseen: f"⟦U+{ord(unseen[0]):04X}⟧", text)


def one_line(text: str, most: int) -> str:
    """`visible`, on one line of `most` characters."""
    line = " ".join(visible(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def defanged(text: str, most: int) -> str:
    """`one_line`, in which no program finds an address to link to or a person to call."""
    line = one_line(text, most).translate(_CALLS)
    return _HOST_DOT.sub("[.]", line.replace("://", "[:]//"))
