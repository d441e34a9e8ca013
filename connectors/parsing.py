"""A record as it came (an object from JSON, a row of CSV) -> a `Message`, or why not."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from connectors.errors import MappingError, Rejected
from connectors.message import Message, content_id, native_id
from connectors.times import TimeError, parse_time

FIELDS: dict[str, tuple[str, ...]] = {
    "time": (
        *("created_at", "published_at", "timestamp", "date", "published"),
        *("time", "datetime", "created_utc"),
    ),
    "text": ("text", "full_text", "body", "content", "tweet", "message", "sentence"),
    "title": ("title", "headline"),
    "tickers": ("ticker", "tickers", "symbol", "symbols", "entities"),
    "id": ("id", "id_str", "guid", "tweet_id"),
    "source": ("source",),
    "url": ("url", "link"),
    "language": ("lang", "language"),
    "author": ("author", "user"),
}
"""Field -> the column names understood without a mapping, whatever their case, best first."""

_FIELD_OF = {name: field for field, names in FIELDS.items() for name in names}

RECORD_LIMIT = 1 << 20
"""Bytes that one record may have."""

_LAYOUTS_LIMIT = 1_000
_INNER_NAMES = ("symbol", "ticker", "text", "name", "title", "id_str", "username", "screen_name")
"""Where an object stands in place of a name (Twitter, StockTwits), its name is one of these."""


def mapping_of(pairs: Iterable[str]) -> dict[str, str]:
    """`["text=original"]` -> `{"text": "original"}`, as given by `--map`; raises MappingError.

    A field may be called by any name that is understood for it: `created_at=when` maps the time.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        field, equals, column = (part.strip() for part in pair.partition("="))
        if not (field and equals and column):
            raise MappingError(
                f"{pair!r} is not a mapping: write field=column, as in text=original"
            )
        field = _FIELD_OF.get(field, field)
        if field in mapping:
            raise MappingError(f"the field {field!r} is mapped twice: give it one column")
        mapping[field] = column
    return mapping


def decode_json(payload: bytes) -> dict[str, object]:
    """The JSON object in `payload`; raises Rejected where it is none, or larger than the limit."""
    if len(payload) > RECORD_LIMIT:
        raise Rejected("too-large", f"the record has more than {RECORD_LIMIT} bytes")
    try:
        value = _decode(payload)
    except UnicodeDecodeError as error:
        raise Rejected("wrong-encoding", f"the record is not UTF-8: {error}") from error
    except msgspec.DecodeError as error:
        raise Rejected("invalid-json", f"the record is not JSON: {error}") from error
    except RecursionError as error:
        raise Rejected("invalid-json", "the record is JSON nested too deeply") from error
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise Rejected("not-an-object", f"the record is not a JSON object but of the type {kind}")
    return value


_decode = msgspec.json.Decoder().decode


class MessageParser:
    """Turns records of one source into messages.

    `source` names messages whose record names none. `mapping` (field of FIELDS -> column) replaces
    the names understood by default. Authors are kept only as a hash keyed with `author_key`;
    without a key they are dropped. `naive_times` counts the times that gave no zone and were taken
    as UTC. Raises MappingError where `mapping` names a field that does not exist.
    """

    def __init__(
        self,
        *,
        source: str,
        mapping: Mapping[str, str] | None = None,
        author_key: bytes | None = None,
    ) -> None:
        self.mapping = dict(mapping or {})
        if unknown := sorted(self.mapping.keys() - FIELDS.keys()):
            raise MappingError(
                f"there is no field {unknown[0]!r} to map: the fields are {', '.join(FIELDS)}"
            )
        self.source = source
        self.naive_times = 0
        self._author_key = author_key
        self._layouts: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {}

    def layout(self, columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Field -> those of `columns` that may hold it, best first (empty where there is none)."""
        key = tuple(columns)
        found = self._layouts.get(key)
        if found is None:
            if len(self._layouts) >= _LAYOUTS_LIMIT:
                self._layouts.clear()  # records with ever new columns must not fill the memory
            found = self._layouts[key] = self._lay_out(key)
        return found

    def _lay_out(self, columns: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        known: dict[str, str] = {}
        for column in columns:
            known.setdefault(column.strip().lower(), column)
        return {
            field: tuple(column for column in columns if column == self.mapping[field])
            if field in self.mapping
            else tuple(known[name] for name in names if name in known)
            for field, names in FIELDS.items()
        }

    def parse(
        self,
        record: Mapping[str, object],
        *,
        received_at: datetime | None = None,
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
    ) -> Message:
        """The message that `record` holds; raises Rejected.

        A title without a text becomes the text.
        """
        layout = self.layout(record)
        text = _text(record, layout["text"])
        title = _text(record, layout["title"])
        if text is None:
            if title is None:
                raise Rejected("missing-text", "the record has neither a text nor a title")
            text, title = title, None
        elif text == title:
            title = None
        published_at = self._time(record, layout["time"])
        source = _name(record, layout["source"]) or self.source
        url = _text(record, layout["url"])
        entities = _tickers(record, layout["tickers"])
        native = _identifier(record, layout["id"])
        return Message(
            id=content_id(source, published_at, title, text, url, entities)
            if native is None
            else native_id(source, native),
            source=source,
            published_at=published_at,
            received_at=received_at,
            title=title,
            text=text,
            url=url,
            language=_text(record, layout["language"]),
            entities=entities,
            author_hash=self._author(record, layout["author"]),
            topic=topic,
            partition=partition,
            offset=offset,
        )

    def _time(self, record: Mapping[str, object], columns: tuple[str, ...]) -> datetime:
        value, _ = _first(record, columns)
        if value is None:
            raise Rejected("missing-time", "the record does not say when it was published")
        try:
            at, naive = parse_time(value)
        except TimeError as error:
            raise Rejected("impossible-time", str(error)) from error
        self.naive_times += naive
        return at

    def _author(self, record: Mapping[str, object], columns: tuple[str, ...]) -> str | None:
        if self._author_key is None:
            return None
        name = _name(record, columns)
        if name is None:
            return None
        return author_hash(name, self._author_key)


def author_hash(name: str, key: bytes) -> str:
    """What is kept of an author's name; without the key nobody can tell whose it is."""
    return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:32]


def _first(record: Mapping[str, object], columns: tuple[str, ...]) -> tuple[object, str]:
    """The first value that is there (neither null nor empty nor white space), and its column."""
    for column in columns:
        value = record[column]
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        return value, column
    return None, ""


def _text(record: Mapping[str, object], columns: tuple[str, ...]) -> str | None:
    value, column = _first(record, columns)
    return None if value is None else storable(value, column)


def storable(value: object, column: str) -> str:
    """`value` as text that every store can hold: no NUL, no half of a surrogate pair."""
    if not isinstance(value, str):
        kind = type(value).__name__
        raise Rejected("wrong-type", f"{column!r} is not text but of the type {kind}")
    if "\0" in value:
        raise Rejected("nul", f"{column!r} contains a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Rejected("wrong-encoding", f"{column!r} is not Unicode text: {error}") from error
    return value.strip()


def _name(record: Mapping[str, object], columns: tuple[str, ...]) -> str | None:
    value, column = _first(record, columns)
    return None if value is None else _named(value, column) or None


def _named(value: object, column: str) -> str:
    """A name given plainly, as a number, or inside an object."""
    if isinstance(value, dict):
        value = next((value[name] for name in _INNER_NAMES if value.get(name)), value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return storable(value, column)


def _identifier(record: Mapping[str, object], columns: tuple[str, ...]) -> str | None:
    value, column = _first(record, columns)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # as tables write whole numbers; larger ones have lost digits
    return _named(value, column)


def _tickers(record: Mapping[str, object], columns: tuple[str, ...]) -> tuple[str, ...]:
    value, column = _first(record, columns)
    if value is None:
        return ()
    if isinstance(value, dict):
        value = value.get("symbols", ())  # Twitter's `entities`
    if isinstance(value, str):
        names: Iterable[str] = storable(value, column).replace(",", " ").replace(";", " ").split()
    elif isinstance(value, list | tuple):
        names = [_named(item, column) for item in value]
    else:
        kind = type(value).__name__
        raise Rejected("wrong-type", f"{column!r} is not a list of tickers but of the type {kind}")
    tickers = (name.strip("$[]'\" ").upper() for name in names)
    return tuple(dict.fromkeys(ticker for ticker in tickers if ticker))
