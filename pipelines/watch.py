"""*Watch*: tagged messages in event time -> novelty -> one-minute buckets -> detector -> spikes.

The core is `Watcher`: plain Python over the pure parts of the other packages, with a state that
travels in versioned bytes. It reads tags only, never the model, so what was tagged once can be
watched again under another rule.
"""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from alerting.detectors.surge import SurgeDetector, SurgeSettings
from alerting.spike import Spike
from alerting.windows import Minute, Mood, Observation, WindowStats, fold, roll_up
from models.novelty import Novelty, NoveltySettings
from models.tags import Tags
from pipelines.records import Tagged, Watched, content, micros
from pipelines.state import Components, StateError, load_segments, save_segments

END = datetime.max.replace(tzinfo=UTC)
"""After all messages."""

_VERSION = 1
_DETECTOR = "detector"
_NOVELTY = "novelty"
_OPEN = "watch"


class _Open(msgspec.Struct, array_like=True):
    """What is open at a cut: the observations of the last minute, the minutes of the last hour."""

    observations: list[Observation] = msgspec.field(default_factory=list)
    minutes: list[Minute] = msgspec.field(default_factory=list)


@dataclass
class Outcome:
    """What a stretch of messages gave. `minutes`: those that closed, in order, each with the
    spikes found in it: the clock and the news of the alerts."""

    watched: list[Watched] = field(default_factory=list)
    windows: list[WindowStats] = field(default_factory=list)
    minutes: list[tuple[datetime, list[Spike]]] = field(default_factory=list)


class Watcher:
    """Follows the mood of every key. Feed `step` in order of (`published_at`, `id`)."""

    def __init__(
        self,
        novelty: NoveltySettings,
        surge: SurgeSettings,
        *,
        configuration: str,
        model: str,
    ) -> None:
        """`configuration` (its hash) and `model` go into every window and spike: who said so."""
        self._configuration = configuration
        self._final = True
        self._novelty = Novelty(novelty)
        self._detector = SurgeDetector(surge, model, configuration)
        self._state = self._detector.initial()
        self._open = _Open()

    def step(self, messages: Iterable[Tagged], until: datetime | None = None) -> Outcome:
        """Minutes and hours that end by `until` close; where none is given, by the minute of the
        last message. END closes all."""
        outcome = Outcome()
        observations = self._open.observations
        for tagged in messages:
            message = tagged.message
            story = self._novelty.step(
                message.id, micros(message.published_at), content(message), tagged.entities
            )
            watched = Watched(tagged, story)
            outcome.watched.append(watched)
            observations.append(observe(watched))
        if until is None:
            if not observations:
                return outcome
            until = observations[-1].published_at
        open_minute, open_hour = minute_of(until), until.replace(minute=0, second=0, microsecond=0)
        closed = [seen for seen in observations if seen.published_at < open_minute]
        self._open.observations = observations[len(closed) :]
        for minute in fold(closed, configuration=self._configuration, final=self._final):
            outcome.windows.extend(minute.stats.values())
            outcome.minutes.append((minute.start, self._detector.step(self._state, minute)))
            self._open.minutes.append(minute)
        done = [held for held in self._open.minutes if held.start < open_hour]
        self._open.minutes = self._open.minutes[len(done) :]
        outcome.windows.extend(roll_up(done))
        return outcome

    def ahead(self) -> "Watcher":
        """A copy that goes on from here with provisional results, and leaves this one as it is."""
        other = copy(self)
        other._final = False
        other._novelty = self._novelty.copy()
        other._state = self._detector.decode(self._detector.encode(self._state))
        other._open = _Open([*self._open.observations], [*self._open.minutes])
        return other

    def save(self) -> Components:
        """The parts of the state that changed since the last call."""
        return {
            **save_segments(_NOVELTY, self._novelty),
            _DETECTOR: (_VERSION, self._detector.encode(self._state)),
            _OPEN: (_VERSION, msgspec.msgpack.encode(self._open)),
        }

    def load(self, components: Mapping[str, tuple[int, bytes]]) -> None:
        """Goes on from what `save` gave. Raises `StateError` for a state of another release."""
        load_segments(_NOVELTY, self._novelty, components)
        if _OPEN not in components:
            return
        version, payload = components[_OPEN]
        if version != _VERSION:
            raise StateError(_OPEN, version, _VERSION)
        self._open = msgspec.msgpack.decode(payload, type=_Open)
        self._state = self._detector.decode(components[_DETECTOR][1])


def observe(watched: Watched) -> Observation:
    """What the windows count of a message."""
    tagged, message = watched.tagged, watched.tagged.message
    return Observation(
        message_id=message.id,
        published_at=message.published_at,
        source=message.source,
        mood=_mood(tagged.tags),
        topic=tagged.tags.topic,
        entities=tagged.entities,
        listing=tagged.listing,
        repeat=watched.repeat,
        story=watched.story,
        by_entity={entity: _mood(tags) for entity, tags in tagged.by_entity.items()},
    )


def _mood(tags: Tags) -> Mood:
    negative, neutral, positive = tags.sentiments
    return Mood(tags.sentiment, negative, neutral, positive, tags.abstained)


def minute_of(time: datetime) -> datetime:
    """The minute that `time` lies in."""
    return time.replace(second=0, microsecond=0)
