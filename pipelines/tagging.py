"""What *tag* does, without Beam: entities, topic and sentiment of messages, each company's own."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from connectors.dead_letter import DeadLetter, dead_letter
from connectors.message import Message
from models.entities import Mention, Recogniser, Recognition
from models.marking import mark
from models.tagger import Tagger, TaggingError
from models.tags import SENTIMENTS, Tags
from pipelines.records import Tagged, content

Result = Tagged | DeadLetter

TagBatch = Callable[[Sequence[Message], Tagger, Recogniser], list[Result]]
"""One result for each message, in order."""

_NOBODYS_NEWS = 0.05
"""A text that is more probably neutral as a whole is not asked again for each company that it
names: asking of every text would cost a replay a fifth of its rate."""


def tag_messages(
    messages: Sequence[Message], tagger: Tagger, recogniser: Recogniser
) -> list[Result]:
    """One result for each message, in order; one that the model failed on is a dead letter.

    Where a text names several companies and the model can tell whose sentiment it is, each is asked
    for on its own.
    """
    found = [
        recogniser.recognise(content(one), at=one.published_at, given=one.entities)
        for one in messages
    ]
    answers = tagger.tag([content(one) for one in messages])
    asked = [
        (row, mention.entity, mark(content(messages[row]), mention.start, mention.end))
        for row, tags in enumerate(answers)
        if tagger.config.marks_entities and isinstance(tags, Tags)
        for mention in _whose(found[row], tags)
    ]
    own: list[dict[str, Tags]] = [{} for _ in messages]
    for (row, entity, _), tags in zip(asked, tagger.tag([one[2] for one in asked]), strict=True):
        if isinstance(tags, Tags):
            own[row][entity] = tags
    return [
        Tagged(message, tags, seen.entities, seen.listing, by_entity)
        if isinstance(tags, Tags)
        else failed(message, tags)
        for message, tags, seen, by_entity in zip(messages, answers, found, own, strict=True)
    ]


def _whose(found: Recognition, tags: Tags) -> Iterable[Mention]:
    """The first mention of each company, where the text's own sentiment may not be everybody's."""
    neutral = tags.sentiments[SENTIMENTS.index("neutral")]
    if found.listing or len(found.entities) < 2 or neutral >= _NOBODYS_NEWS:
        return ()
    first: dict[str, Mention] = {}
    for mention in found.mentions:
        if mention.end:
            first.setdefault(mention.entity, mention)
    return first.values()


def failed(message: Message, error: TaggingError) -> DeadLetter:
    """The dead letter of a message that was read, and then failed in the model."""
    return dead_letter(
        source=message.source,
        stage="tag",
        reason="model-failed",
        error=str(error),
        payload=msgspec.json.encode(message),
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
    )
