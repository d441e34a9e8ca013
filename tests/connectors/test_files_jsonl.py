import gzip
import json
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.dead_letter import DeadLetter
from connectors.errors import SourceTruncated
from connectors.files import FileSource, Record, fingerprint, read_messages, source_name
from connectors.message import Message
from connectors.parsing import RECORD_LIMIT

GOOD = b'{"id": 1, "date": "2020-01-01T00:00:00Z", "text": "Profits fall"}'


def read(path: Path, content: bytes) -> list[Message | DeadLetter]:
    path.write_bytes(content)
    return list(read_messages(path))


def test_messages_come_in_the_order_of_the_file_with_its_name_as_source(tmp_path: Path) -> None:
    lines = [GOOD.replace(b"1,", b"%d," % number, 1) for number in range(3)]
    found = read(tmp_path / "tweets.jsonl", b"\n".join(lines))
    assert [message.id for message in found] == ["tweets:0", "tweets:1", "tweets:2"]


@pytest.mark.parametrize(
    ("line", "reason", "stage"),
    [
        (b"{not json}", "invalid-json", "read"),
        (b'{"id": 1, "text": "half', "invalid-json", "read"),
        (b"[1, 2]", "not-an-object", "read"),
        (b'{"text": "\xff\xfe", "date": 1}', "wrong-encoding", "read"),
        (b'{"text": "\\ud800", "date": 1}', "invalid-json", "read"),
        (b'{"text": "a\\u0000b", "date": 1}', "nul", "parse"),
        (b'{"text": "", "date": 1}', "missing-text", "parse"),
        (b'{"text": "a"}', "missing-time", "parse"),
        (b'{"text": "a", "date": "2021-02-30"}', "impossible-time", "parse"),
    ],
)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_a_bad_line_is_one_dead_letter_with_its_line_and_bytes(
    tmp_path: Path, line: bytes, reason: str, stage: str, ending: bytes
) -> None:
    found = read(tmp_path / "a.jsonl", ending.join([GOOD, b"", line, GOOD]))
    assert [type(item) for item in found] == [Message, DeadLetter, Message]
    bad = found[1]
    assert isinstance(bad, DeadLetter)
    assert (bad.reason, bad.stage, bad.line, bad.source) == (reason, stage, 3, "a")
    assert (bad.payload, bad.payload_size) == (line, len(line))
    assert bad.error.startswith("line 3: ")


def test_blank_lines_and_a_byte_order_mark_count_as_nothing(tmp_path: Path) -> None:
    found = read(tmp_path / "a.jsonl", b"\xef\xbb\xbf\n  \n" + GOOD + b"\n\n" + GOOD + b"\n \n")
    assert [type(item) for item in found] == [Message, Message]


@pytest.mark.parametrize("more", [1, 5_000_000])
def test_a_line_beyond_the_limit_is_a_dead_letter_cut_to_it(tmp_path: Path, more: int) -> None:
    line = b'{"text": "' + b"a" * (RECORD_LIMIT + more - 12) + b'"}'
    found = read(tmp_path / "a.jsonl", line + b"\n" + GOOD + b"\n" + line)
    assert [type(item) for item in found] == [DeadLetter, Message, DeadLetter]
    for item, number in ((found[0], 1), (found[2], 3)):
        assert isinstance(item, DeadLetter)
        assert (item.reason, item.line, item.payload_size) == ("too-large", number, len(line))
        assert item.payload == line[:RECORD_LIMIT]


def test_a_line_of_just_the_limit_is_read(tmp_path: Path) -> None:
    start, end = b'{"date": 1, "text": "', b'"}'
    line = start + b"a" * (RECORD_LIMIT - len(start) - len(end)) + end
    found = read(tmp_path / "a.jsonl", line + b"\r\n" + line)
    assert [type(item) for item in found] == [Message, Message]


def test_memory_does_not_grow_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD + b"\n" + b"a" * 60_000_000 + b"\n" + GOOD, 1))
    tracemalloc.start()
    found = [type(item) for item in read_messages(path)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [Message, DeadLetter, Message]
    assert peak < 8 * RECORD_LIMIT


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress((GOOD + b"\n") * 100_000, 1))
    tracemalloc.start()
    read = sum(1 for _ in read_messages(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read == 100_000
    assert peak < 2_000_000


def test_gzip_is_read_whatever_the_name_and_progress_reaches_the_size(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "a.jsonl"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(GOOD + b"\n" + GOOD))
        stream = read_messages(path)
        assert stream.size == path.stat().st_size
        assert len(list(stream)) == 2
        assert stream.done == stream.size


def test_a_gzip_file_cut_short_gives_all_complete_records_first(tmp_path: Path) -> None:
    lines = [json.dumps({"id": n, "date": n, "text": f"{n**9}"}).encode() for n in range(20_000)]
    whole = gzip.compress(b"\n".join(lines))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    found: list[Message | DeadLetter] = []
    with pytest.raises(SourceTruncated, match="cut short"):
        found.extend(read_messages(path))  # keeps what came before the error
    text = zlib.decompressobj(31).decompress(whole[: len(whole) // 2])
    assert len(found) == text.count(b"\n") > 5_000
    assert [message.id for message in found] == [f"a:{n}" for n in range(len(found))]


def test_a_damaged_gzip_file_says_so_at_its_end(tmp_path: Path) -> None:
    wrong_checksum = bytearray(gzip.compress((GOOD + b"\n") * 2))
    wrong_checksum[-6] ^= 1
    path = tmp_path / "a.jsonl.gz"
    for content in (wrong_checksum, gzip.compress((GOOD + b"\n") * 2) + b"rubbish"):
        path.write_bytes(content)
        found: list[Message | DeadLetter] = []
        with pytest.raises(SourceTruncated, match="damaged"):
            found.extend(read_messages(path))
        assert [type(item) for item in found] == [Message, Message]


def test_gzip_files_strung_together_and_padded_are_one(tmp_path: Path) -> None:
    content = (gzip.compress(GOOD + b"\n") + bytes(512)) * 3
    assert len(read(tmp_path / "a.jsonl.gz", content)) == 3


def test_the_name_of_a_source_has_no_extensions() -> None:
    names = ["/a/tweets.jsonl.gz", "tweets.csv", "tweets", "tweets.2020.JSONL", "tweets.2020"]
    assert [source_name(name) for name in names] == [
        "tweets",
        "tweets",
        "tweets",
        "tweets.2020",
        "tweets.2020",
    ]


def test_a_fingerprint_is_of_the_bytes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"abc")
    assert fingerprint(path) == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        3,
    )


def test_a_closed_stream_gives_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + b"\n" + GOOD)
    stream = read_messages(path)
    next(stream)
    stream.close()
    assert list(stream) == []


@given(st.lists(st.text().filter(lambda text: "\0" not in text), min_size=1, max_size=8))
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.jsonl"
    rows = [{"date": 1, "text": text} for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = list(FileSource(path))
    assert [record.value for record in records if isinstance(record, Record)] == rows
    assert [record.line for record in records] == list(range(1, len(rows) + 1))
