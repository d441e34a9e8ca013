"""The exported schemas are those of the records, and the records' JSON fits them."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from connectors.message import Message
from pipelines.schemas import RECORDS, file_name, schema
from tests.pipelines.test_slices import START

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: str(record.__name__))
def test_a_released_schema_is_kept(record: type[msgspec.Struct]) -> None:
    released = json.loads((FOLDER / file_name(record)).read_text(encoding="utf-8"))
    assert schema(record) == released, (
        "A record changed. Where a reader of the old one would break, raise its schema version; "
        "then run: python -m pipelines.schemas docs/schemas"
    )


def test_no_schema_is_left_of_a_record_that_is_gone() -> None:
    newest = {file_name(record) for record in RECORDS}
    assert newest <= {path.name for path in FOLDER.iterdir()}


def test_a_record_on_the_wire_fits_its_schema() -> None:
    message = Message(id="test:1", source="test", published_at=START, text="Profit falls")
    jsonschema.validate(json.loads(msgspec.json.encode(message)), schema(Message))
