"""Hostile text is shown, and does nothing: not in a terminal, a mail program or a chat."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.inert import defanged, one_line, visible


def test_what_reorders_or_hides_is_shown_by_name() -> None:
    assert visible("a\u202eb\x1b[31mc") == "a⟦U+202E⟧b⟦U+001B⟧[31mc"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("see http://evil.example/x", "see http[:]//evil[.]example/x"),
        ("www.evil.com", "www[.]evil[.]com"),
        ("evil。com", "evil[.]com"),
        ("<!channel> @everyone <@U024BE7LH>", "‹!channel› ＠everyone ‹＠U024BE7LH›"),
        ("&lt;!here&gt;", "‹!here›"),
        ("[Log in](https://evil.example)", "⟦Log in⟧(https[:]//evil[.]example)"),
        ("up 3.5% in the U.S. today", "up 3.5% in the U.S. today"),
    ],
)
def test_no_program_finds_a_link_or_a_mention(hostile: str, shown: str) -> None:
    assert defanged(hostile, 100) == shown


@given(st.text())
def test_no_text_breaks_out_of_its_line(text: str) -> None:
    line = defanged(text, 80)
    assert "\n" not in line
    assert "\r" not in line
    assert "\x1b" not in line
    assert not re.search(r"://|[<>@]", line)


def test_a_cut_is_shown() -> None:
    assert one_line("abc\n def", 6) == "abc d…"
