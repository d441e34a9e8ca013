"""*Tag* on Beam: a result keeps its message's event time, and a failure costs one message."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from connectors.dead_letter import DeadLetter
from connectors.message import Message
from models.entities import Recogniser
from models.tagger import Tagger, TaggingError
from models.tags import Tags
from pipelines.configuration import TagSettings
from pipelines.records import Tagged, micros
from pipelines.tag import TAGGED, Tag
from pipelines.tagging import tag_messages
from tests.pipelines.test_slices import START

TEXTS = ("$PFE Pfizer cuts its outlook", "Oil rises", "$AAPL Apple beats estimates")


def message(number: int, text: str) -> Message:
    at = START + timedelta(minutes=number)
    return Message(id=f"test:{number}", source="test", published_at=at, text=text)


class TimeOf(beam.DoFn):
    def process(
        self, tagged: Tagged, at: Any = beam.DoFn.TimestampParam
    ) -> Iterator[tuple[str, int]]:
        yield tagged.message.id, at.micros


def test_every_result_keeps_the_event_time_of_its_message() -> None:
    messages = [message(number, text) for number, text in enumerate(TEXTS * 3)]
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        tagged = (
            pipeline
            | beam.Create(messages)
            | beam.Map(
                lambda one: beam.window.TimestampedValue(one, micros(one.published_at) / 1e6)
            )
            | Tag(TagSettings(batch=2))
        )[TAGGED]
        expected = [(one.id, micros(one.published_at)) for one in messages]
        assert_that(tagged | beam.ParDo(TimeOf()), equal_to(expected))


def test_a_text_that_the_model_fails_on_is_a_dead_letter_and_costs_no_other() -> None:
    class FailsOnOil(Tagger):
        def tag(self, texts: Sequence[str]) -> list[Tags | TaggingError]:
            failure = TaggingError("The model failed on this text.")
            answers = zip(texts, super().tag(texts), strict=True)
            return [failure if "Oil" in text else tags for text, tags in answers]

    messages = [message(number, text) for number, text in enumerate(TEXTS)]
    first, letter, third = tag_messages(messages, FailsOnOil(), Recogniser.default())
    assert isinstance(first, Tagged)
    assert first.entities == ("PFE",)
    assert isinstance(third, Tagged)
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.reason) == ("tag", "model-failed")
    assert b"Oil rises" in letter.payload
