"""The JSON Schemas of the records, exported for those who read them elsewhere.

`python -m pipelines.schemas FOLDER` writes them. A schema that was released is never changed: what
breaks a reader gets a new version, in the record's `schema` field and in the file's name.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from alerting.alert import Alert
from alerting.channels.notice import Notice
from alerting.heads import Head
from alerting.spike import Spike
from alerting.windows import WindowStats
from connectors.dead_letter import DeadLetter
from connectors.message import Message
from models.tags import Tags

RECORDS: tuple[type[msgspec.Struct], ...] = (
    Message,
    DeadLetter,
    Tags,
    WindowStats,
    Spike,
    Alert,
    Notice,
    Head,
)


def file_name(record: type[msgspec.Struct]) -> str:
    """`WindowStats` -> `window_stats.v1.json`."""
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in record.__name__).lstrip("_")
    version = next(f.default for f in msgspec.structs.fields(record) if f.name == "schema")
    return f"{name}.v{version}.json"


def schema(record: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON Schema 2020-12 of one record."""
    plain: dict[str, Any] = msgspec.to_builtins(msgspec.json.schema(record))
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": record.__name__, **json.loads(json.dumps(plain))}


def export(folder: Path) -> None:
    """Writes one file a record."""
    folder.mkdir(parents=True, exist_ok=True)
    for record in RECORDS:
        text = json.dumps(schema(record), indent=2, ensure_ascii=False)
        (folder / file_name(record)).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m pipelines.schemas FOLDER")
    export(Path(sys.argv[1]))
