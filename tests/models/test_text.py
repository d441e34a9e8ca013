import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text import normalise

ANY_TEXT = st.text(st.characters(codec=None))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fed &amp; ECB hold rates https://t.co/AbC", "Fed & ECB hold rates"),
        ("RT @desk: Oil  slides", "Oil slides"),
        ("RT @a: RT @b: Oil slides", "Oil slides"),
        ("Oil slides http…", "Oil slides"),
        ("see www.example.com/x now", "see now"),
        ("a\x00b\x07c\ud800d", "a b c d"),
        ("pro\u200bfit \ufeffup", "profit up"),
        ("\uff21pple", "Apple"),
        ("httpd is no link", "httpd is no link"),
        ("", ""),
    ],
)
def test_what_carries_no_meaning_is_removed(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_a_retweet_reads_like_its_original() -> None:
    original = "$AAPL beats estimates http://t.co/one"
    assert normalise(f"RT @somebody: {original[:-3]}two") == normalise(original)


@given(ANY_TEXT)
def test_any_text_becomes_printable_and_encodable(text: str) -> None:
    result = normalise(text)
    assert "\x00" not in result
    assert result == result.strip()
    result.encode("utf-8")


def test_a_huge_text_is_cut() -> None:
    assert len(normalise("\ufdfa" * 100_000)) <= 4_000
