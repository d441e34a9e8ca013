"""A notification made ready to be told: what webhooks and Kafka carry as JSON, others in words."""

from datetime import datetime

import msgspec

from alerting.alert import Alert
from alerting.notification import Held


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the evidence. Title, text and address are a stranger's, as they came: whoever
    shows them has to escape them."""

    id: str
    source: str
    published_at: datetime
    title: str | None
    text: str
    url: str | None
    sentiment: str
    negative: float


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Times are UTC, and of the events. `id` is the idempotency key: the same at every attempt, for
    one event, one channel and one recipient.

    `event`: opened, updated, revised, withdrawn, resolved, escalated or digest. `title` and
    `summary` say it in words, `link` is the alert's page. `step`: 0 for the first who are told.
    `route` and `rules` name what decided that they are. `held`: in a digest, what it makes up for.
    """

    schema: int = 1
    id: str
    recipient: str
    event: str
    event_id: str
    occurred_at: datetime
    title: str
    summary: str
    link: str | None
    alert: Alert
    incident: str | None
    messages: tuple[Shown, ...]
    held: tuple[Held, ...]
    route: str
    step: int
    rules: str

    @property
    def thread(self) -> str:
        """What belongs together for a reader: the incident, else the alert."""
        return self.incident or self.alert.id


def encoded(notice: Notice) -> bytes:
    """JSON by `docs/schemas/notice.v1.json`; the same bytes for the same notice."""
    return msgspec.json.encode(notice, order="deterministic")
