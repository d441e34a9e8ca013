"""Recognising companies: what counts as a mention, and what only looks like one."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.entities import Recogniser, Table, TableError
from models.entities.measure import read, score, wilson
from models.entities.recogniser import MAX_CHARACTERS

LABELLED = Path(__file__).parents[1] / "data" / "entities" / "mentions.jsonl"
IN_2014 = datetime(2014, 4, 16, tzinfo=UTC)
IN_2023 = datetime(2023, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser.default()


def found(
    recogniser: Recogniser, text: str, at: datetime = IN_2014, given: tuple[str, ...] = ()
) -> tuple[str, ...]:
    return recogniser.recognise(text, at=at, given=given).entities


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("$AAPL up", ("AAPL",)),
        ("$aapl and ($goog), $BRK-B/$brk.b", ("AAPL", "BRK.B", "GOOGL")),
        ("U$D 100 millones, P$C, $5, $D.UN, C$31.75, $ES_F, $ZZZZZ", ()),
        ("BE$T OF THE FINE$T $T", ()),
        ("Get a dividend from $T or $t", ("T",)),
        ("https://example.com/$AAPL @Apple #Apple &amp;Applefree", ()),
        ("AT&amp;T and Johnson &#38; Johnson", ("JNJ", "T")),
        ("(NYSE:T) (Nasdaq: FB) ASH.N #MSFT", ("ASH", "META", "MSFT", "T")),
        ("Google's miss hits McDonald’s and MCDONALDS", ("GOOGL", "MCD")),
        ("google it, apple pie, the Big Apple, Apple pie", ()),
        ("via Google, on Facebook, a Twitter account", ()),
        ("Investors bullish on Facebook", ("META",)),
        ("Price Target Raised; Stocks Gap Up; Delta Force; Shell company; No Match", ()),
        ("Target shares fall as shoppers stay away", ("TGT",)),
        ("Movers: PepsiCo, Gap, Delta and others", ("DAL", "GAP", "PEP")),
        ("$GPS: Gap between them", ("GAP",)),
        ("JPMorgan upgrades Deere", ("DE",)),
        ("Boeing cut to neutral at Goldman Sachs", ("BA",)),
        ("JPMorgan cuts 5,000 jobs", ("JPM",)),
        ("Former Google manager joins a start-up", ()),
    ],
)
def test_takes_what_the_text_speaks_of(
    recogniser: Recogniser, text: str, entities: tuple[str, ...]
) -> None:
    assert found(recogniser, text) == entities


def test_a_symbol_and_a_name_hold_only_on_their_days(recogniser: Recogniser) -> None:
    assert found(recogniser, "$FB", IN_2014) == ("META",)
    assert found(recogniser, "$FB", IN_2023) == ()
    assert found(recogniser, "$META", IN_2014) == ()
    assert found(recogniser, "$META and Facebook", IN_2023) == ("META",)
    assert found(recogniser, "$PCLN", IN_2014) == ("BKNG",)
    assert found(recogniser, "$S", IN_2014) == ("S.2020",)
    assert found(recogniser, "$S", IN_2023) == ("S",)
    assert found(recogniser, "Celgene", datetime(2022, 1, 1, tzinfo=UTC)) == ()


def test_the_day_is_taken_in_utc(recogniser: Recogniser) -> None:
    late_in_new_york = datetime.fromisoformat("2022-06-08T21:00:00-04:00")
    assert found(recogniser, "$FB", late_in_new_york) == ()


def test_a_given_symbol_counts_unless_it_is_ambiguous_and_unsupported(
    recogniser: Recogniser,
) -> None:
    assert found(recogniser, "up 5%", given=("$AAPL",)) == ("AAPL",)
    assert found(recogniser, "HIGHWAY HEI$T", given=("T",)) == ()
    assert found(recogniser, "Gap is closing stores", given=("GPS",)) == ("GAP",)
    assert found(recogniser, "AT&T to buy it", given=("T",)) == ("T",)
    assert found(recogniser, "anything", given=("", "$", "no such")) == ()


def test_mentions_say_where_and_how(recogniser: Recogniser) -> None:
    text = "Boeing beats Airbus; $BA up, AMZN flat"
    recognition = recogniser.recognise(text, at=IN_2014, given=("AAPL",))
    assert [(m.entity, text[m.start : m.end], m.kind) for m in recognition.mentions] == [
        ("AAPL", "", "given"),
        ("BA", "Boeing", "name"),
        ("BA", "$BA", "cashtag"),
        ("AMZN", "AMZN", "ticker"),
    ]


def test_four_different_cashtags_make_a_listing(recogniser: Recogniser) -> None:
    assert not recogniser.recognise("$AAPL $GOOG $FB $AAPL", at=IN_2014).listing
    assert recogniser.recognise("$AAPL $GOOG $FB $NOSUCH", at=IN_2014).listing


def test_precision_and_recall_hold_on_the_report_texts(recogniser: Recogniser) -> None:
    reached = score(recogniser, read(LABELLED, "report"))
    assert reached.precision >= 0.95
    assert reached.recall >= 0.88


def test_three_hundred_labels_and_no_text_twice() -> None:
    rows = read(LABELLED, "develop") + read(LABELLED, "report")
    assert len({row.source for row in rows}) == len(rows)
    assert sum(len(row.entities) for row in rows) >= 300


def test_wilson_interval_agrees_with_its_published_example() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


SPICE = (
    *("$", "$AAPL", "$T", "&amp;", "@", "#", "Apple", "Gap", ", ", "'s ", "JPMorgan", "says", "at"),
    *("https://", "NYSE:", ".", "AT", "&", "T", "\ud800", "ſ", "İ", "ß", "\x00", "苹果", "\u202e"),
)


@given(st.lists(st.sampled_from(SPICE) | st.text(max_size=8), max_size=40))
@example(["A.N", " ", "B.O"])
@settings(max_examples=300, deadline=None)
def test_never_fails_and_points_into_the_text(recogniser: Recogniser, parts: list[str]) -> None:
    text = "".join(parts)
    recognition = recogniser.recognise(text, at=IN_2014, given=tuple(parts[:3]))
    assert all(0 <= m.start <= m.end <= len(text) for m in recognition.mentions)
    assert recognition.entities == tuple(sorted({m.entity for m in recognition.mentions}))


@pytest.mark.parametrize("unit", ["$", "$A ", "Gap, ", "AT&", "&amp;", "http:", "Bank of America "])
def test_a_hostile_megabyte_is_read_only_so_far(recogniser: Recogniser, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    whole = recogniser.recognise(text, at=IN_2014)
    assert whole == recogniser.recognise(text[:MAX_CHARACTERS], at=IN_2014)


def test_every_company_is_reachable_by_its_own_symbol_on_some_day() -> None:
    table = Table.load()
    bearers = {entity for pairs in table.symbols.values() for entity, _ in pairs}
    assert set(table.companies) == bearers


def test_on_no_day_has_a_symbol_two_bearers() -> None:
    for symbol, bearers in Table.load().symbols.items():
        spans = sorted((days.first, days.end) for _, days in bearers)
        starts = [first for first, _ in spans[1:]] + [date.max]
        assert all(end <= start for (_, end), start in zip(spans, starts, strict=True)), symbol


def test_a_broken_table_says_which_file_to_mend(tmp_path: Path) -> None:
    broken = tmp_path / "knowledge.toml"
    broken.write_text("names = [")
    with pytest.raises(TableError, match=r"knowledge\.toml"):
        Table.load(knowledge=broken)
