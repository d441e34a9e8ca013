"""What travels between the steps of the graph: records of the other packages, put together."""

import datetime

import msgspec

from connectors.message import Message
from models.tags import Tags

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A message on its way through the live job; `frontier` and `reason` as in `LateMessage`, where
    it came too late. `watermark`: the source's, behind the message."""

    message: Message
    frontier: datetime.datetime | None = None
    reason: str = ""
    watermark: datetime.datetime | None = None


class Tagged(msgspec.Struct, frozen=True, gc=False):
    """A message with what *tag* found: tickers it speaks of, and the model's tags.

    `listing`: the text is a list of cashtags that says nothing of any one company. `by_entity`: the
    model's tags for one of several companies, where it was asked for them.
    """

    message: Message
    tags: Tags
    entities: tuple[str, ...]
    listing: bool
    by_entity: dict[str, Tags] = {}


class Watched(msgspec.Struct, frozen=True, gc=False):
    """A tagged message with what *watch* found: `story` is the id of its story's first message."""

    tagged: Tagged
    story: str

    @property
    def repeat(self) -> bool:
        return self.story != self.tagged.message.id


def content(message: Message) -> str:
    """What the model reads: the headline, then the text."""
    return f"{message.title}. {message.text}" if message.title else message.text


def micros(time: datetime.datetime) -> int:
    """Event time as microseconds since 1970, UTC."""
    return (time - EPOCH) // _MICROSECOND


def moment(since_epoch: int) -> datetime.datetime:
    """The event time of `micros`."""
    return EPOCH + since_epoch * _MICROSECOND
