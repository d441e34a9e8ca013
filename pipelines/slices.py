"""A sorted history cut into slices that fit into memory, each one run of the graphs.

Where the cuts fall changes no result: whatever is open at a cut travels in the state.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from connectors.message import Message


@dataclass(frozen=True, slots=True)
class Slice:
    """`position`: how many messages of the run came before; `last`: the input ends here."""

    number: int
    position: int
    messages: list[Message]
    last: bool


def cut(
    messages: Iterable[Message],
    *,
    most_messages: int,
    most_characters: int,
    number: int = 0,
    position: int = 0,
) -> Iterator[Slice]:
    """Slices of at most `most_messages` and about `most_characters` of text."""
    held: list[Message] = []
    characters = 0
    for message in messages:
        if len(held) >= most_messages or characters >= most_characters:
            yield Slice(number, position, held, last=False)
            number, position = number + 1, position + len(held)
            held, characters = [], 0
        held.append(message)
        characters += len(message.text) + len(message.title or "")
    if held:
        yield Slice(number, position, held, last=True)
