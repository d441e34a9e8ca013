"""Asks the model about one company of a text: the mention is put between two marks.

A marked text is a string of its own type. The marks of every other string are taken away before
the model reads it, so that nobody's text can mark anything.
"""

from models.text import MARK_END, MARK_START, MARKS, MarkedText


def mark(text: str, start: int, end: int) -> MarkedText:
    """`text` with `text[start:end]` marked, for `Tagger.tag`: its sentiment is that entity's own.

    An artifact whose configuration says `marks_entities: false` does not see the marks and answers
    for the whole text, as it does where the mention stands behind what the model reads. Raises
    `ValueError` where start and end do not frame at least one character of the text.
    """
    if not 0 <= start < end <= len(text):
        raise ValueError(
            f"[{start}:{end}] is no mention in a text of {len(text)} characters: "
            "give the start and end of at least one character."
        )
    before, mention, after = (
        MARKS.sub("", part) for part in (text[:start], text[start:end], text[end:])
    )
    return MarkedText(f"{before}{MARK_START}{mention}{MARK_END}{after}")
