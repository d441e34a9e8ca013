import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.files import BadRecord, FileSource, Record, read_messages
from connectors.message import Message
from connectors.parsing import RECORD_LIMIT


def records(path: Path, content: bytes) -> list[Record | BadRecord]:
    path.write_bytes(content)
    return list(FileSource(path))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt"])
def test_the_delimiter_follows_from_the_header(tmp_path: Path, delimiter: str, name: str) -> None:
    rows = "date,text\n1,Profits fall\n".replace(",", delimiter).encode()
    found = records(tmp_path / name, rows)
    assert [record.value for record in found if isinstance(record, Record)] == [
        {"date": "1", "text": "Profits fall"}
    ]


def test_lines_are_right_around_quoted_line_ends(tmp_path: Path) -> None:
    content = b'date,text\r\n1,"one\r\ntwo"\r\n\r\n2,three\r\n3,"four"\r\n'
    found = records(tmp_path / "a.csv", content)
    assert [(record.line, record.payload) for record in found] == [
        (2, b'1,"one\r\ntwo"'),
        (5, b"2,three"),
        (6, b'3,"four"'),
    ]
    assert found[0][2] == {"date": "1", "text": "one\r\ntwo"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"1", "wrong-columns"),
        (b"1,a,b", "wrong-columns"),
        (b"1,Caf\xe9", "wrong-encoding"),
        (b'1,"a" b', "invalid-csv"),
        (b'1,"never closed', "invalid-csv"),
    ],
)
def test_a_bad_row_is_one_bad_record_and_the_next_rows_are_read(
    tmp_path: Path, row: bytes, reason: str
) -> None:
    found = records(tmp_path / "a.csv", b"date,text\n0,good\n" + row + b"\n2,better\n3,best\n")
    assert [record.line for record in found] == [2, 3, 4, 5]
    bad = found[1]
    assert isinstance(bad, BadRecord)
    assert (bad.reason, bad.payload, bad.payload_size) == (reason, row, len(row))
    assert all(isinstance(found[index], Record) for index in (0, 2, 3))


def test_a_stray_quote_does_not_swallow_the_rows_up_to_the_next_one(tmp_path: Path) -> None:
    rows = [b"%d,text %d" % (number, number) for number in range(100)]
    rows[10] = b'10,"stray'
    rows[50] = b'50,"quoted, well"'
    found = records(tmp_path / "a.csv", b"date,text\n" + b"\n".join(rows))
    assert [record.line for record in found if isinstance(record, BadRecord)] == [12]
    assert len(found) == 100


def test_a_quote_that_is_never_closed_costs_one_row_of_a_long_file(tmp_path: Path) -> None:
    rows = [b"%d,%s" % (number, b"a" * 1000) for number in range(3_000)]
    rows[10] = b'10,"stray'
    found = records(tmp_path / "a.csv", b"date,text\n" + b"\n".join(rows))
    bad = [record for record in found if isinstance(record, BadRecord)]
    assert [(record.line, record.reason) for record in bad] == [(12, "invalid-csv")]
    assert len(found) == 3_000


def test_a_row_of_several_lines_with_wrong_columns_is_one_bad_record(tmp_path: Path) -> None:
    found = records(tmp_path / "a.csv", b'date,text\n1,"a\nb",c\n2,d\n')
    assert [(type(record), record.line) for record in found] == [(BadRecord, 2), (Record, 4)]


def test_a_line_beyond_the_limit_is_a_bad_record_cut_to_it(tmp_path: Path) -> None:
    row = b"1," + b"a" * 3 * RECORD_LIMIT
    found = records(tmp_path / "a.csv", b"date,text\n" + row + b"\n2,good\n")
    bad = found[0]
    assert isinstance(bad, BadRecord)
    assert (bad.reason, bad.payload_size) == ("too-large", len(row))
    assert bad.payload == row[:RECORD_LIMIT]
    assert isinstance(found[1], Record)


def test_a_long_field_within_the_limit_is_read(tmp_path: Path) -> None:
    found = records(tmp_path / "a.csv", b'date,text\n1,"' + b"a\n" * 400_000 + b'"\n')
    assert [type(record) for record in found] == [Record]


def test_messages_from_csv_with_a_byte_order_mark_and_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes("\ufeffwhen;original;text\n2020-01-01 10:00;Größe fällt;x\n".encode())
    stream = read_messages(path, mapping={"time": "when", "text": "original"}, source="wire")
    (message,) = list(stream)
    assert isinstance(message, Message)
    assert (message.text, message.source, stream.naive_times) == ("Größe fällt", "wire", 1)


def test_a_nul_in_a_row_is_a_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"date,text\n1,a\0b\n2,good\n")
    reasons = [getattr(item, "reason", None) for item in read_messages(path)]
    assert reasons == ["nul", None]


rows = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    min_size=1,
    max_size=6,
)


@given(rows, st.sampled_from(",;\t|"))
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("date", "text"), *rows])
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(written.getvalue().encode())
    found = [tuple(record.value.values()) for record in FileSource(path) if len(record) == 3]
    assert found == rows
