"""What the report writes: text made visible, words weighed, numbers and alerts in plain words."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.spike import KINDS
from pipelines.report import inert, wording
from tests.pipelines.report_rows import alert

SPANS = st.lists(
    st.tuples(st.integers(-5, 60), st.integers(-5, 60), st.floats(-2, 2, allow_nan=False))
)


def test_a_bidi_override_is_shown_by_its_code_instead_of_reordering_the_text() -> None:
    assert inert.visible("sell \u202eyub\u202c now") == "sell ⟦U+202E⟧yub⟦U+202C⟧ now"


def test_html_entities_are_read_and_what_they_hide_is_shown() -> None:
    assert inert.visible("AT&amp;T &#x202e;&lt;b&gt;") == "AT&T ⟦U+202E⟧<b>"


@given(st.text())
def test_no_control_or_bidi_character_is_left(text: str) -> None:
    shown = inert.visible(text)
    assert not [
        character
        for character in shown
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n\r"
    ]
    assert not set(shown) & set(
        "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )


@given(st.text(st.characters(exclude_characters="&")), SPANS)
def test_highlighting_neither_loses_nor_adds_text(
    text: str, words: list[tuple[int, int, float]]
) -> None:
    shown = "".join(piece.text for piece in inert.pieces(text, words))
    assert shown == inert.visible(text[: inert.MAX_CHARACTERS])


@given(st.text(min_size=1), SPANS)
def test_levels_lie_between_none_and_the_deepest(
    text: str, words: list[tuple[int, int, float]]
) -> None:
    assert all(0 <= piece.level <= inert.LEVELS for piece in inert.pieces(text, words))


def test_only_words_that_speak_for_the_label_are_highlighted_the_heaviest_most() -> None:
    pieces = inert.pieces("profit falls badly now", [(0, 6, -0.9), (7, 12, 2.0), (13, 18, 1.0)])
    assert [(piece.text, piece.level) for piece in pieces if piece.level] == [
        ("falls", 4),
        ("badly", 2),
    ]


def test_where_no_word_moved_the_model_none_is_highlighted() -> None:
    assert inert.pieces("shares of it", [(0, 6, 0.02)]) == (inert.Piece("shares of it"),)


def test_a_label_of_a_chart_is_one_escaped_line() -> None:
    assert inert.label('<a href="x">A\n&\u202e') == '&lt;a href="x"&gt;A &amp;⟦U+202E⟧'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (0.004, "under 0.01"),
        (0.03, "0.03"),
        (0.84, "0.8"),
        (14.0, "14"),
        (12940, "12,940"),
    ],
)
def test_numbers_have_as_many_digits_as_help(value: float, words: str) -> None:
    assert wording.number(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(900, "15 min"), (3600, "1 h"), (5400, "1 h 30 min"), (259200, "3 days")],
)
def test_durations_are_short(seconds: int, words: str) -> None:
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("log10_tail", "words"),
    [
        (-0.5, "not rare by itself"),
        (-2.0, "by chance in about one of 100 such windows"),
        (-6.5, "by chance in about one of 3 million such windows"),
        (-400.0, "by chance in less than one of a thousand trillion such windows"),
    ],
)
def test_a_tail_probability_is_told_as_a_frequency(log10_tail: float, words: str) -> None:
    assert wording.chance(log10_tail) == words


def test_an_alert_is_told_in_one_line() -> None:
    assert wording.title(alert(), "Amazon") == "Negative surge on Amazon"
    assert wording.against(alert(), 3600) == "5 new negative stories in 1 h against 0.8 expected"
    one = alert(peak_observed=1.0, kind="amplification")
    assert (
        wording.against(one, 900) == "1 repeat of negative stories in 15 min against 0.8 expected"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_alert_has_its_words(kind: str) -> None:
    assert wording.title(alert(kind=kind), "Amazon").endswith("Amazon")
    assert "5 " in wording.against(alert(kind=kind), 3600)
