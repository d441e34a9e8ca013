import gzip
import os
from pathlib import Path

import pytest

from connectors.errors import SourceError
from connectors.files import fingerprint, read_messages

GOOD = b'{"id": 1, "date": 1, "text": "Profits fall"}\n'


def refused(path: Path, content: bytes, **options: object) -> str:
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        list(read_messages(path, **options))  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"\n \n", "is empty"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\xef\xbb\xbf", "is empty"),
        ("a.jsonl.gz", b"", "is empty"),
        ("a.jsonl.gz", gzip.compress(b""), "is empty"),
        ("a.csv", b"date,text\n", "no rows"),
        ("a.jsonl.gz", GOOD, "not gzip"),
        ("a.jsonl.gz", gzip.compress(GOOD)[:12], "cut short"),
        ("a.json", b"[" + GOOD + b"]", "JSON array"),
        ("a.jsonl", b"[\n" + GOOD + b"]", "JSON array"),
        ("a.json", b'{\n"a": 1\n}', "over several lines"),
        ("a.bin", bytes(range(256)), "unknown format"),
        ("a.txt", b"Profits fall at Apple.\n", "unknown format"),
        ("a.csv", "date,text\n1,a\n".encode("utf-16"), "UTF-16"),
        ("a.csv", b"date,text,text\n1,a,b\n", "two columns named 'text'"),
        ("a.csv", b'date,"text\n1,a\n', "the header"),
        ("a.csv", b"when,text\n1,a\n", "no column for the time"),
        ("a.csv", b"date,words\n1,a\n", "no column for the text"),
        ("a.jsonl", b'{"date": 1, "words": "a"}\n', "no column for the text"),
    ],
)
def test_a_bad_source_is_refused_in_one_sentence(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    sentence = refused(tmp_path / name, content)
    assert said in sentence
    assert str(tmp_path / name) in sentence


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases = {"missing.jsonl": "does not exist", "": "is a folder", "pipe": "not a regular file"}
    for name, said in cases.items():
        for use in (read_messages, fingerprint):
            with pytest.raises(SourceError, match=said):
                use(tmp_path / name)


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything: let the system refuse in its place

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("io.FileIO", refuse)
    with pytest.raises(SourceError, match="may not be read"):
        read_messages(path)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_mapped_column_that_is_nowhere_is_refused_with_the_columns_seen(
    tmp_path: Path, name: str
) -> None:
    content = b"id,date,text\n1,1,a\n" if name == "a.csv" else GOOD
    sentence = refused(tmp_path / name, content, mapping={"text": "orignal"})
    assert "no column 'orignal', to which 'text' is mapped" in sentence
    assert "'id', 'date', 'text'" in sentence


def test_a_mapped_column_may_appear_late_in_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD * 2_000 + b'{"date": 1, "text": "a", "who": "jane"}\n')
    assert len(list(read_messages(path, mapping={"author": "who"}, author_key=b"k"))) == 2_001


def test_a_source_of_bad_messages_alone_is_no_bad_source(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{not json}\n" * 3)
    assert [getattr(item, "line", 0) for item in read_messages(path)] == [1, 2, 3]
