from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.errors import LedgerError
from alerting.ledger import GENESIS, LedgerRow, append, unseen, verify

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


class Event(msgspec.Struct, frozen=True):
    event_id: str
    alert_id: str = "alert"
    event: str = "opened"
    occurred_at: datetime = NOON
    details: dict = {}


def ledger(count: int = 4) -> list[LedgerRow]:
    events = [
        Event(f"e{i}", details={"observed": 3.5, "words": "müde", "n": i}) for i in range(count)
    ]
    return append(GENESIS, 0, events, NOON, "pipeline")


def test_a_ledger_as_written_holds():
    rows = ledger()
    assert verify(rows) is None
    assert [row.sequence for row in rows] == [1, 2, 3, 4]


def test_a_ledger_written_in_two_parts_is_the_same_ledger():
    events = [Event(f"e{i}") for i in range(4)]
    first = append(GENESIS, 0, events[:2], NOON, "pipeline")
    then = append(first[-1].hash, first[-1].sequence, events[2:], NOON, "pipeline")
    assert [*first, *then] == append(GENESIS, 0, events, NOON, "pipeline")


def test_rows_survive_storage_with_another_time_zone_and_key_order():
    rows = ledger()
    east = timezone(timedelta(hours=8))
    stored = [
        msgspec.structs.replace(
            row,
            occurred_at=row.occurred_at.astimezone(east),
            details=dict(reversed(list(row.details.items()))),
        )
        for row in rows
    ]
    assert verify(stored) is None


@given(st.data())
def test_a_change_of_any_one_character_is_found_and_named(data):
    rows = ledger()
    wire = [msgspec.json.encode(row) for row in rows]
    index = data.draw(st.integers(0, len(rows) - 1))
    row = msgspec.to_builtins(rows[index])
    field = data.draw(
        st.sampled_from(["id", "alert_id", "event", "actor", "previous_hash", "hash"])
    )
    at = data.draw(st.integers(0, len(row[field]) - 1))
    letter = data.draw(st.characters(codec="ascii", exclude_characters=row[field][at]))
    row[field] = row[field][:at] + letter + row[field][at + 1 :]
    changed = [msgspec.json.decode(line, type=LedgerRow) for line in wire]
    changed[index] = msgspec.convert(row, LedgerRow)
    broken = verify(changed)
    assert broken is not None
    assert broken.sequence in (index + 1, index + 2)


@given(st.data())
def test_a_change_of_any_one_byte_on_the_wire_is_found_or_changes_nothing(data):
    rows = ledger()
    wire = bytearray(msgspec.json.encode(rows))
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != wire[at]))
    try:
        changed = msgspec.json.decode(bytes(wire), type=list[LedgerRow])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    try:
        assert changed == rows or verify(changed) is not None or _only_signature(changed, rows)
    except LedgerError:
        return


def _only_signature(changed: list[LedgerRow], rows: list[LedgerRow]) -> bool:
    """A row's signature is not under its hash; a misspelt "signature" reads as none."""
    return [msgspec.structs.replace(row, signature=None) for row in changed] == rows


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("occurred_at", NOON + timedelta(microseconds=1)),
        ("recorded_at", NOON - timedelta(microseconds=1)),
        ("details", {"observed": 3.6, "words": "müde", "n": 1}),
        ("details", {"observed": 3.5, "words": "müde"}),
        ("sequence", 7),
    ],
)
def test_a_changed_column_is_found(field, value):
    rows = ledger()
    rows[1] = msgspec.structs.replace(rows[1], **{field: value})
    assert verify(rows).sequence == 2


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_removed_row_is_found(gone):
    rows = ledger()
    del rows[gone]
    assert verify(rows).sequence == gone + 1


def test_rows_removed_at_the_end_are_found_against_a_head_kept_elsewhere():
    rows = ledger()
    head = rows[-1].hash
    assert verify(rows, head=head) is None
    assert verify(rows[:-1], head=head).sequence == 4


def test_two_rows_that_changed_places_are_found():
    rows = ledger()
    rows[1], rows[2] = rows[2], rows[1]
    assert verify(rows).sequence == 2


def test_a_row_written_twice_is_found_even_with_a_good_chain():
    rows = ledger(2)
    again = append(rows[-1].hash, 2, [Event("e0")], NOON, "pipeline")
    assert "twice" in verify([*rows, *again]).reason


def test_a_change_already_in_the_ledger_is_not_filed_again():
    events = [Event("a"), Event("b"), Event("b"), Event("c")]
    assert [event.event_id for event in unseen(events, {"a"})] == ["b", "c"]


def test_details_that_json_cannot_hold_are_refused_by_name():
    with pytest.raises(LedgerError, match="e1"):
        append(GENESIS, 0, [Event("e1", details={"x": float("nan")})], NOON, "pipeline")


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(LedgerError, match="time zone"):
        append(GENESIS, 0, [Event("e1", occurred_at=NOON.replace(tzinfo=None))], NOON, "p")
