"""Messages from files: JSON Lines and CSV, plain or gzip, in constant memory.

A bad *source* raises SourceError; a bad *message* becomes a dead letter with its line, its original
bytes and the reason, and reading goes on. Blank lines are skipped and count as nothing.
"""

import csv
import hashlib
import io
import os
import zlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from connectors.closing import Closing
from connectors.dead_letter import DeadLetter, dead_letter
from connectors.errors import Rejected, SourceError, SourceTruncated
from connectors.message import Message
from connectors.parsing import FIELDS, RECORD_LIMIT, MessageParser, decode_json

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

_KINDS: dict[str, Literal["jsonl", "csv"]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
}
_DELIMITERS = ",;\t|"
_BUFFER_BYTES = 1 << 16
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_BOM = b"\xef\xbb\xbf"
_COLUMNS_SHOWN = 20


class Record(NamedTuple):
    """One record read well. `line` is its first line, from 1; `payload` its bytes as they stand."""

    line: int
    payload: bytes
    value: dict[str, object]


class BadRecord(NamedTuple):
    """One record that could not be read; `payload` is cut at the limit, `payload_size` is not."""

    line: int
    payload: bytes
    payload_size: int
    reason: str
    error: str


class Fingerprint(NamedTuple):
    """Which bytes a file held: SHA-256 in hexadecimal, and their number."""

    sha256: str
    size: int


class _Line(NamedTuple):
    number: int
    raw: bytes
    size: int


def fingerprint(path: str | Path) -> Fingerprint:
    """SHA-256 and size of the file's bytes as they lie on disk; raises SourceError."""
    path = _checked(path)
    with _opened(path) as file:
        digest = hashlib.file_digest(file, "sha256")
        return Fingerprint(digest.hexdigest(), file.tell())


def source_name(path: str | Path) -> str:
    """The file's name without its extensions: the source of messages that name none."""
    name = Path(path).name.removesuffix(".gz")
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in _KINDS else name


def read_messages(
    path: str | Path,
    *,
    mapping: Mapping[str, str] | None = None,
    source: str | None = None,
    author_key: bytes | None = None,
) -> "MessageStream":
    """The messages of a file, in its order, with a dead letter where one is bad.

    `source` is the file's name without extensions where not given; the rest is as in MessageParser.

    Raises at once MappingError, or SourceError where the file cannot be used: not found, not
    readable, empty, of an unknown format, without a column for the time, the text or a mapped
    field. Raises SourceTruncated at the end, after all complete records, where a gzip file is cut
    short or damaged.
    """
    name = source or source_name(path)
    parser = MessageParser(source=name, mapping=mapping, author_key=author_key)
    _check_columns(path, parser)
    return MessageStream(FileSource(path), parser)


class MessageStream(Iterator[Message | DeadLetter]):
    """What `read_messages` gives: an iterator that knows how far it has come."""

    def __init__(self, file: "FileSource", parser: MessageParser) -> None:
        self._file = file
        self._parser = parser
        self._items: Generator[Message | DeadLetter] = self._read()

    def __next__(self) -> Message | DeadLetter:
        return next(self._items)

    @property
    def source(self) -> str:
        """The name given to messages whose record names no source."""
        return self._parser.source

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._file.size

    @property
    def done(self) -> int:
        """Bytes read from disk so far, of `size`."""
        return self._file.bytes_read

    @property
    def naive_times(self) -> int:
        """Times so far that gave no zone and were taken as UTC."""
        return self._parser.naive_times

    def close(self) -> None:
        """Closes the file; happens by itself at the end of it."""
        self._items.close()
        self._file.close()

    def _read(self) -> Generator[Message | DeadLetter]:
        parse = self._parser.parse
        with self._file:
            for record in self._file:
                if isinstance(record, BadRecord):
                    yield self._dead(record, "read")
                    continue
                try:
                    yield parse(record.value)
                except Rejected as error:
                    size = len(record.payload)
                    bad = BadRecord(record.line, record.payload, size, error.reason, str(error))
                    yield self._dead(bad, "parse")

    def _dead(self, bad: BadRecord, stage: str) -> DeadLetter:
        return dead_letter(
            source=self.source,
            stage=stage,
            reason=bad.reason,
            error=f"line {bad.line}: {bad.error}",
            payload=bad.payload,
            payload_size=bad.payload_size,
            line=bad.line,
        )


def _check_columns(path: str | Path, parser: MessageParser) -> None:
    """Raises SourceError where no record of the file has a column that is needed.

    A file of JSON Lines has no header, so records are read until all columns were seen: the first
    one in nearly every file.
    """
    wanted = {"time", "text", *parser.mapping}
    seen: dict[str, None] = {}
    with FileSource(path) as file:
        try:
            for record in file:
                columns = file.header or (record.value if isinstance(record, Record) else ())
                if len(seen) < _COLUMNS_SHOWN:
                    seen.update(dict.fromkeys(columns))
                found = {field for field, names in parser.layout(columns).items() if names}
                if "title" in found and "text" not in parser.mapping:
                    found.add("text")
                wanted -= found
                if not wanted or file.header:
                    break
        except SourceTruncated:
            return  # said again, and at the right place, when the messages are read
    if not wanted or not seen:
        return
    field = next(field for field in FIELDS if field in wanted)
    shown = ", ".join(repr(column) for column in list(seen)[:_COLUMNS_SHOWN])
    if field in parser.mapping:
        problem = f"no column {parser.mapping[field]!r}, to which {field!r} is mapped"
        advice = "map the field to one of these"
    else:
        problem = f"no column for the {field}"
        advice = f"name the right one with --map {field}=COLUMN"
    raise SourceError(f"{path} has {problem}; its columns are {shown}: {advice}")


class FileSource(Closing):
    """The records of one file: iterate once. Closes itself at the end, or as a context manager.

    The format follows from the extension (.jsonl, .ndjson, .json, .csv, .tsv, each also .gz), else
    from the content. Raises SourceError where it cannot be used.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _checked(path)
        self._disk = _opened(self.path)
        try:
            self.size = os.fstat(self._disk.fileno()).st_size
            self.compressed = self._is_gzip()
            self._file: io.BufferedReader = (
                io.BufferedReader(_Gunzip(self._disk), _BUFFER_BYTES)
                if self.compressed
                else self._disk
            )
            self._skip_mark()
            self._lines = _Lines(self._file, self.path)
            first = self._first_line()
            self.kind = self._sniff(first)
            self.delimiter: str | None = None
            self.header: tuple[str, ...] | None = None
            if self.kind == "csv":
                self._read_header(first.decode("utf-8", "replace"))
        except BaseException:
            self._disk.close()
            raise

    def __iter__(self) -> Iterator[Record | BadRecord]:
        return self._csv_records() if self.kind == "csv" else self._json_records()

    @property
    def bytes_read(self) -> int:
        """Bytes read from disk so far, of `size`; compressed bytes where the file is compressed."""
        return self.size if self._disk.closed else min(self.size, self._disk.raw.tell())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        self._disk.close()

    def _is_gzip(self) -> bool:
        magic = self._disk.peek(2)[:2]
        if not magic:
            raise SourceError(f"{self.path} is empty: it holds no messages")
        if magic == b"\x1f\x8b":
            return True
        if self.path.suffix.lower() == ".gz":
            raise SourceError(f"{self.path} is named .gz but is not gzip: rename or compress it")
        return False

    def _skip_mark(self) -> None:
        try:
            head = self._file.peek(len(_BOM))
        except _DAMAGE as error:
            raise _damaged(self.path, error) from error
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise SourceError(f"{self.path} is UTF-16: save it as UTF-8")
        if head.startswith(_BOM):
            self._file.read(len(_BOM))

    def _first_line(self) -> bytes:
        """The first line that is not blank, without taking it away."""
        for line in self._lines:
            if not line.raw.isspace():
                self._lines.push_back([line])
                return line.raw.strip()
        raise SourceError(f"{self.path} is empty: it holds no messages")

    def _sniff(self, first: bytes) -> Literal["jsonl", "csv"]:
        suffixes = [suffix.lower() for suffix in self.path.suffixes if suffix.lower() != ".gz"]
        suffix = suffixes[-1] if suffixes else ""
        kind = _KINDS.get(suffix)
        if kind == "jsonl" or (kind is None and first.startswith((b"{", b"["))):
            if first == b"[" or (first.startswith(b"[") and suffix not in (".jsonl", ".ndjson")):
                raise SourceError(
                    f"{self.path} is one JSON array: write one object on each line, "
                    "as `jq -c '.[]'` does"
                )
            if first == b"{":
                raise SourceError(
                    f"{self.path} is JSON over several lines: write one object on each line, "
                    "as `jq -c .` does"
                )
            return "jsonl"
        if kind is None and (b"\0" in first or not any(d.encode() in first for d in _DELIMITERS)):
            raise SourceError(
                f"{self.path} is of an unknown format: give JSON Lines (.jsonl) or CSV (.csv), "
                "plain or .gz"
            )
        return "csv"

    def _read_header(self, first: str) -> None:
        self.delimiter = max(_DELIMITERS, key=lambda d: len(next(csv.reader([first], delimiter=d))))
        self._rows = _CsvRows(self._lines, self.delimiter)
        row = next(self._rows)
        if isinstance(row, BadRecord):
            raise SourceError(f"the header of {self.path} cannot be read: {row.error}")
        header = [name.strip() for name in row.values]
        named = [name for name in header if name]
        if twice := {name for name in named if named.count(name) > 1}:
            raise SourceError(
                f"{self.path} has two columns named {min(twice)!r}: give each its own name"
            )
        self.header = tuple(header)

    def _json_records(self) -> Iterator[Record | BadRecord]:
        with self:
            for number, raw, size in self._lines:
                payload = raw.rstrip(b"\r\n")
                if size > RECORD_LIMIT:
                    yield _too_large(_Line(number, payload, size))
                    continue
                if not payload or payload.isspace():
                    continue
                try:
                    yield Record(number, payload, decode_json(payload))
                except Rejected as error:
                    yield BadRecord(number, payload, len(payload), error.reason, str(error))

    def _csv_records(self) -> Iterator[Record | BadRecord]:
        header = self.header or ()
        empty = True
        with self:
            for row in self._rows:
                empty = False
                if isinstance(row, BadRecord):
                    yield row
                elif len(row.values) != len(header):
                    error = f"the row has {len(row.values)} columns, the header {len(header)}"
                    size = len(row.payload)
                    yield BadRecord(row.line, row.payload, size, "wrong-columns", error)
                else:
                    yield Record(row.line, row.payload, dict(zip(header, row.values, strict=True)))
        if empty:
            raise SourceError(f"{self.path} has a header but no rows: it holds no messages")


class _Gunzip(io.RawIOBase):
    """Decompresses gzip, and raises only after everything before the damage was given.

    The standard library's reader loses up to a buffer of good data before it. Raises EOFError where
    the file is cut short, zlib.error where it is damaged.
    """

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._error: zlib.error | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        view = memoryview(buffer)
        data = self._read(len(view))
        view[: len(data)] = data
        return len(data)

    def _read(self, limit: int) -> bytes:
        while True:
            if self._error:
                raise self._error
            if self._member.eof:  # gzip files may be strung together, and padded with zeros
                packed = self._member.unused_data.lstrip(b"\0") or self._file.read(_BUFFER_BYTES)
                if not packed:
                    return b""
                self._member = zlib.decompressobj(_GZIP_WINDOW)
            else:
                packed = self._member.unconsumed_tail or self._file.read(_BUFFER_BYTES)
                if not packed:
                    raise EOFError
            before = self._member.copy()
            try:
                data = self._member.decompress(packed, limit)
            except zlib.error as error:
                self._error = error
                data = _good_part(before, packed)
            if data:
                return data


def _good_part(member: "zlib._Decompress", packed: bytes) -> bytes:
    """What `packed` gives up to the byte that is wrong."""
    parts = []
    try:
        for index in range(len(packed)):
            parts.append(member.decompress(packed[index : index + 1]))
    except zlib.error:
        return b"".join(parts)
    return b"".join(parts)


class _Lines(Iterator[_Line]):
    """Physical lines, each held no further than the limit; lines can be pushed back."""

    def __init__(self, file: io.BufferedReader, path: Path) -> None:
        self._file = file
        self._path = path
        self._number = 0
        self._returned: deque[_Line] = deque()

    def __next__(self) -> _Line:
        if self._returned:
            return self._returned.popleft()
        try:
            raw = self._file.readline(RECORD_LIMIT + 2)  # the line end does not count
            if not raw:
                raise StopIteration
            self._number += 1
            size = len(raw) if len(raw) <= RECORD_LIMIT else self._size_of_long(raw)
        except _DAMAGE as error:
            raise _damaged(self._path, error) from error
        except OSError as error:
            raise _unreadable(self._path, error) from error
        return _Line(self._number, raw, size)

    def _size_of_long(self, raw: bytes) -> int:
        size = len(raw)
        while not raw.endswith(b"\n"):
            raw = self._file.readline(RECORD_LIMIT)
            if not raw:
                return size
            size += len(raw)
        return size - 1 - raw.endswith(b"\r\n")

    def push_back(self, lines: list[_Line]) -> None:
        self._returned.extendleft(reversed(lines))


class _Row(NamedTuple):
    line: int
    payload: bytes
    values: list[str]


class _RecordTooLarge(Exception):
    """Raised through the CSV reader while a record grows beyond the limit."""


class _CsvRows(Iterator[_Row | BadRecord]):
    """Rows of CSV with their original bytes; quoted fields may span lines.

    A quote that is never closed would swallow the rest of the file: then only the row's first line
    is bad, and the lines after it are read again.
    """

    def __init__(self, lines: _Lines, delimiter: str) -> None:
        csv.field_size_limit(2 * RECORD_LIMIT)  # process-wide; the feed's own limit is lower
        self._lines = lines
        self._feed = _CsvFeed(lines)
        self._reader = csv.reader(self._feed, delimiter=delimiter, strict=True)

    def __next__(self) -> _Row | BadRecord:
        while True:
            self._feed.start_row()
            try:
                values = next(self._reader)
            except _RecordTooLarge:
                return self._give_up("a quoted field does not end")
            except csv.Error as error:
                return self._give_up(f"the row is not CSV: {error}")
            lines = self._feed.row
            if len(values) > 1 or len(lines) > 1 or any(value.strip() for value in values):
                return _row(lines, values)

    def _give_up(self, error: str) -> BadRecord:
        first, *others = self._feed.row
        if first.size > RECORD_LIMIT:
            return _too_large(first)
        self._lines.push_back(others)
        payload = first.raw.rstrip(b"\r\n")
        return BadRecord(first.number, payload, len(payload), "invalid-csv", error)


class _CsvFeed(Iterator[str]):
    """Gives the CSV reader its lines and remembers those of the row under way."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        self.start_row()

    def start_row(self) -> None:
        self.row: list[_Line] = []
        self._size = 0

    def __next__(self) -> str:
        line = next(self._lines)
        self.row.append(line)
        self._size += line.size
        if self._size > RECORD_LIMIT + 2:  # the line end does not count
            raise _RecordTooLarge
        # A wrong byte is judged by the row, not here: the quotes around it still count.
        return line.raw.decode("utf-8", "replace")


def _row(lines: list[_Line], values: list[str]) -> _Row | BadRecord:
    number = lines[0].number
    payload = b"".join([line.raw for line in lines]).rstrip(b"\r\n")
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            sentence = f"the row is not UTF-8: {error}"
            return BadRecord(number, payload, len(payload), "wrong-encoding", sentence)
    return _Row(number, payload, values)


def _too_large(line: _Line) -> BadRecord:
    error = f"the record has {line.size} bytes, more than the limit of {RECORD_LIMIT}"
    return BadRecord(line.number, line.raw[:RECORD_LIMIT], line.size, "too-large", error)


_DAMAGE = (EOFError, zlib.error)


def _damaged(path: Path, error: Exception) -> SourceTruncated:
    if isinstance(error, EOFError):
        return SourceTruncated(
            f"{path} is cut short: its gzip stream ends too early; copy it again"
        )
    return SourceTruncated(
        f"{path} is damaged: its gzip stream is invalid ({error}); copy it again"
    )


def _checked(path: str | Path) -> Path:
    path = Path(path)
    try:
        if path.is_dir():
            raise SourceError(f"{path} is a folder: give a file")
        if not path.exists():
            raise SourceError(f"{path} does not exist: check the name")
    except OSError as error:
        raise _unreadable(path, error) from error
    if not path.is_file():
        raise SourceError(f"{path} is not a regular file: save the messages to one")
    return path


def _opened(path: Path) -> io.BufferedReader:
    try:
        return io.BufferedReader(io.FileIO(path), _BUFFER_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> SourceError:
    if isinstance(error, PermissionError):
        return SourceError(f"{path} may not be read: ask for permission to read it")
    return SourceError(f"{path} cannot be read: {error.strerror or error}")
