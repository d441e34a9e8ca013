from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.errors import LedgerError
from alerting.ledger import Entry, LedgerRow, Point, append, content_digest, link, seal, verify

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def event(name: str, **changes) -> Entry:
    base = Entry(event_id=name, alert_id="alert", event="opened", occurred_at=NOON, details={})
    return msgspec.structs.replace(base, **changes)


def ledger(count: int = 4) -> list[LedgerRow]:
    events = [
        event(f"e{i}", details={"observed": 3.5, "words": "müde", "n": i}) for i in range(count)
    ]
    return append(Point(), events, NOON, "pipeline")


def test_a_ledger_as_written_holds():
    rows = ledger()
    assert verify(rows) is None
    assert [row.sequence for row in rows] == [1, 2, 3, 4]


def test_a_ledger_written_in_two_parts_is_the_same_ledger():
    events = [event(f"e{i}") for i in range(4)]
    first = append(Point(), events[:2], NOON, "pipeline")
    then = append(Point(2, first[-1].hash), events[2:], NOON, "pipeline")
    assert [*first, *then] == append(Point(), events, NOON, "pipeline")


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
        assert changed == rows or verify(changed) is not None
    except LedgerError:
        return


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("occurred_at", NOON + timedelta(microseconds=1)),
        ("recorded_at", NOON - timedelta(microseconds=1)),
        ("details", {"observed": 3.6, "words": "müde", "n": 1}),
        ("details", {"observed": 3.5, "words": "müde"}),
        ("sequence", 7),
        ("run_id", "r"),
        ("subject", "user:jane"),
        ("seals", [("m", "00")]),
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
    head = Point(4, rows[-1].hash)
    assert verify(rows, heads=[head]) is None
    assert verify(rows[:-1]) is None
    assert verify(rows[:-1], heads=[head]).sequence == 4
    assert verify([], heads=[head]).sequence == 1


def test_a_chain_computed_anew_is_found_against_a_head_and_a_longer_one_is_not_blamed():
    rows = ledger()
    head = Point(2, rows[1].hash)
    assert verify(rows, heads=[head]) is None
    forged = append(Point(), [event(f"e{i}", details={"forged": i}) for i in range(4)], NOON, "p")
    assert verify(forged) is None
    assert verify(forged, heads=[head]).sequence == 2


def test_the_chain_must_run_through_every_head_and_from_a_later_start_through_the_later_ones():
    rows = ledger()
    heads = [Point(row.sequence, row.hash) for row in rows]
    assert verify(rows, heads=[Point(), *reversed(heads)]) is None
    assert verify(rows, heads=[*heads, Point(2, rows[0].hash)]).sequence == 2
    assert verify(rows, heads=[Point(0, rows[0].hash)]).sequence == 0
    assert verify(rows[2:], start=heads[1], heads=heads) is None
    assert verify(rows[2:3], start=heads[1], heads=heads).sequence == 4
    assert verify([], start=heads[3], heads=[Point(4, rows[0].hash)]).sequence == 4


def test_digests_alone_link_rows_that_are_not_shown():
    rows = ledger()
    end = Point().hash
    for row in rows:
        end = link(end, content_digest(row))
    assert end == rows[-1].hash


def test_a_seal_holds_with_its_salt_alone():
    message = {"id": "m", "text": "müde", "words": [(0, 4, 0.5)]}
    sealed = seal("00" * 16, message)
    assert sealed == seal("00" * 16, {"words": [[0, 4, 0.5]], "text": "müde", "id": "m"})
    assert sealed != seal("01" * 16, message)
    assert sealed != seal("00" * 16, message | {"text": "munter"})


def test_two_rows_that_changed_places_are_found():
    rows = ledger()
    rows[1], rows[2] = rows[2], rows[1]
    assert verify(rows).sequence == 2


def test_details_that_json_cannot_hold_are_refused_by_name():
    with pytest.raises(LedgerError, match="e1"):
        append(Point(), [event("e1", details={"x": float("nan")})], NOON, "pipeline")


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(LedgerError, match="time zone"):
        append(Point(), [event("e1", occurred_at=NOON.replace(tzinfo=None))], NOON, "p")
