"""The ledger proves itself: whatever is changed in the store behind its back is found and named."""

import random
import shutil
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select, text

from alerting.decisions import Acknowledge, Comment, Dispose
from alerting.errors import DecisionRefused, LedgerError
from alerting.heads import Head, check, generate, load_private, load_public, sign
from alerting.ledger import LedgerRow, Point, content_digest, link
from connectors.store import Store, StoreError, schema
from pipelines import corrections
from pipelines.alerting.silencing import ask_for
from pipelines.audit import Proof, prove, proven_end
from pipelines.erasure import erase
from pipelines.export.dossier import gathered, one
from pipelines.recording import record_decision, record_fact
from tests.pipelines.ledgers import CLOCK, changes, message_row, stored

SEED = 20260301
Change = Callable[[sqlite3.Connection, random.Random], bool]
EDITS, EACH = 600, 100
PROVED = {
    "alert_events": [column.name for column in schema.alert_events.columns],
    "alerts": [column.name for column in schema.alerts.columns],
}


def fill(store: Store) -> None:
    stored(store)
    alert_id = changes()[0].alert_id
    with store.transaction() as tx:
        for number, action in enumerate(
            (Acknowledge(), Comment("müde"), Dispose("duplicate", "of another"))
        ):
            now = CLOCK + timedelta(minutes=number)
            record_decision(tx, alert_id, action, actor="jane", now=now)
        ask_for(
            tx,
            owner="jane",
            reason="planned",
            starts_at=CLOCK,
            ends_at=CLOCK + timedelta(hours=1),
            keys=("entity:A",),
            kinds=(),
            now=CLOCK,
        )
        corrections.record(
            tx, "other", head="sentiment", label="neutral", found="negative", actor="ann", now=CLOCK
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / "whole.db"
    with Store.open(path) as store:
        fill(store)
        with store.engine.connect() as connection:
            connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "store.db"))


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        fill(store)
        yield store


def verified(path: Path, head: Head | None = None) -> Proof:
    with Store.open(path) as store:
        return prove(store, [head] if head else [])


def unlocked(path: Path) -> sqlite3.Connection:
    """The store in the hands of somebody who may do everything."""
    connection = sqlite3.connect(path, isolation_level=None)
    for name in ("no_update", "no_delete", "no_replace"):
        connection.execute(f"DROP TRIGGER alert_events_{name}")
    connection.execute("PRAGMA synchronous=OFF")
    for table in PROVED:
        connection.execute(f"CREATE TEMP TABLE kept_{table} AS SELECT * FROM {table}")
    return connection


def test_what_was_written_holds_and_says_what_is_unproved(store: Store) -> None:
    proof = prove(store)
    assert proof.holds, proof.broken
    assert (proof.events, proof.alerts) == (len(changes()) + 5, 2)
    assert "Without a head" in " ".join(proof.unproved)
    head = sign(proven_end(store), None)
    assert "signature was not checked" in " ".join(prove(store, [head]).unproved)
    assert prove(store, [head], signed=True).unproved == []
    with store.transaction() as tx:
        alert_id = changes()[0].alert_id
        record_decision(tx, alert_id, Comment("later"), actor="bob", now=CLOCK)
    proof = prove(store, [head], signed=True)
    assert proof.holds
    assert "came after the head" in " ".join(proof.unproved)


def test_an_empty_ledger_holds(tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty.db") as store:
        assert prove(store, [sign(proven_end(store), None)]).holds


# 1,000 seeded ways to change the store behind the ledger's back.


def edit(connection: sqlite3.Connection, chance: random.Random) -> bool:
    """Changes one byte of one value; False where that value has none or stays what it was."""
    table = chance.choice(list(PROVED))
    column = chance.choice(PROVED[table])
    rowid, value = chance.choice(
        connection.execute(f"SELECT rowid, CAST({column} AS BLOB) FROM {table}").fetchall()
    )
    if not value:
        return False
    at = chance.randrange(len(value))
    changed = value[:at] + bytes([value[at] ^ chance.randrange(1, 256)]) + value[at + 1 :]
    kind = connection.execute(
        f"SELECT typeof({column}) FROM {table} WHERE rowid = ?", [rowid]
    ).fetchone()[0]
    before = connection.execute(f"SELECT * FROM {table}").fetchall if kind != "text" else None
    old = before() if before else None
    try:
        connection.execute(
            f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE rowid = ?", [changed, rowid]
        )
    except sqlite3.IntegrityError:
        return False  # another row has this key
    return old is None or connection.execute(f"SELECT * FROM {table}").fetchall() != old


def delete(connection: sqlite3.Connection, chance: random.Random) -> bool:
    table = chance.choice(list(PROVED))
    rows = connection.execute(f"SELECT rowid FROM {table}").fetchall()
    connection.execute(f"DELETE FROM {table} WHERE rowid = ?", chance.choice(rows))
    return True


def swap(connection: sqlite3.Connection, chance: random.Random) -> bool:
    """Two rows of the ledger change places, whole."""
    one, other = chance.sample(
        [row[0] for row in connection.execute("SELECT sequence FROM alert_events")], 2
    )
    for old, new in ((one, -1), (other, one), (-1, other)):
        connection.execute("UPDATE alert_events SET sequence = ? WHERE sequence = ?", [new, old])
    return True


def truncate(connection: sqlite3.Connection, chance: random.Random) -> bool:
    (count,) = connection.execute("SELECT count(*) FROM alert_events").fetchone()
    connection.execute("DELETE FROM alert_events WHERE sequence > ?", [chance.randrange(1, count)])
    return True


def rewrite(connection: sqlite3.Connection, chance: random.Random) -> bool:
    """Edits a row and computes the whole chain anew, as it ought to be."""
    column = chance.choice(["actor", "event", "alert_id", "run_id"])
    (count,) = connection.execute("SELECT count(*) FROM alert_events").fetchone()
    connection.execute(
        f"UPDATE alert_events SET {column} = ? WHERE sequence = ?",
        [f"forged {chance.random()}", chance.randrange(1, count + 1)],
    )
    rehash(connection)
    return True


def rehash(connection: sqlite3.Connection) -> None:
    names = list(LedgerRow.__struct_fields__)
    end = Point()
    for values in connection.execute(f"SELECT {', '.join(names)} FROM alert_events").fetchall():
        row = dict(zip(names, values, strict=True))
        for name in ("occurred_at", "recorded_at"):
            row[name] = row[name].replace(" ", "T") + "Z"
        row["final"] = bool(row["final"])
        for name in ("details", "seals"):
            row[name] = msgspec.json.decode(row[name]) if row[name] else None
        ledger_row = msgspec.convert(row, LedgerRow)
        new = Point(end.sequence + 1, link(end.hash, content_digest(ledger_row)))
        connection.execute(
            "UPDATE alert_events SET previous_hash = ?, hash = ? WHERE sequence = ?",
            [end.hash, new.hash, new.sequence],
        )
        end = new


def test_each_of_1000_changes_is_found(path: Path, tmp_path: Path) -> None:
    private, public = generate(tmp_path / "keys")
    chance = random.Random(SEED)
    kinds: list[Change] = [edit] * EDITS
    kinds += [change for change in (delete, swap, truncate, rewrite) for _ in range(EACH)]
    with Store.open(path) as store:
        head = sign(proven_end(store), load_private(private))
        assert check(head, load_public(public)) is None
        connection = unlocked(path)
        for number, change in enumerate(kinds):
            while True:
                connection.execute("BEGIN")
                if change(connection, chance):
                    break
                connection.execute("ROLLBACK")
            connection.execute("COMMIT")
            proof = prove(store, [head], signed=True)
            assert not proof.holds, f"change {number}, {change.__name__}, was not found"
            assert proof.broken is not None
            assert proof.broken.reason
            if change is rewrite:  # whoever forges the head as well has no key to sign it with
                forged = sign(proven_end(store), None)
                assert check(forged, load_public(public)) is not None
                stolen = msgspec.structs.replace(forged, signature=head.signature)
                assert check(stolen, load_public(public)) is not None
            restore(connection)


def restore(connection: sqlite3.Connection) -> None:
    """Puts the tables back as they were before the first change."""
    connection.execute("BEGIN")
    for table in PROVED:
        connection.execute(f"DELETE FROM {table}")
        connection.execute(f"INSERT INTO {table} SELECT * FROM temp.kept_{table}")
    connection.execute("COMMIT")


@pytest.mark.parametrize(
    ("statement", "table", "reason"),
    [
        ("UPDATE evidence_salts SET salt = '00'", "alerts", "does not match its seal"),
        ("UPDATE evidence_salts SET salt = 'xx'", "alerts", "does not match its seal"),
        ("DELETE FROM evidence_salts", "alerts", "does not match its seal"),
        ("UPDATE messages SET text = 'nice'", "messages", "its text is not what the alert shows"),
        ("UPDATE messages SET text = CAST(X'ff' AS TEXT)", "messages", "column text"),
        ("UPDATE messages SET text = '[erased]'", "messages", "its text is not"),
        ("UPDATE runs SET manifest = '{}'", "runs", "does not match its id"),
        ("DELETE FROM runs", "runs", "is missing"),
        ("DELETE FROM tags; DELETE FROM messages", "messages", "is missing"),
        ("UPDATE alerts SET severity = 'low'", "alerts", "its severity is not what the ledger"),
        ("UPDATE alerts SET closed_at = NULL, state = 'open'", "alerts", "not what the ledger"),
        ("UPDATE alerts SET evidence = '[]'", "alerts", "its evidence is not"),
        ("UPDATE alerts SET evidence = '{'", "alerts", "column evidence is not as it was"),
        ("UPDATE alerts SET id = 'x' || id", "alerts", "the ledger knows no such alert"),
        ("DELETE FROM alerts WHERE key = 'entity:B'", "alerts", "is missing, though the ledger"),
        ("UPDATE silences SET owner = 'eve'", "silences", "is not what the ledger says"),
        ("UPDATE silences SET keys = '5'", "silences", "is not what the ledger says"),
        ("UPDATE silences SET id = 'x'", "silences", "is not what the ledger says"),
        ("DELETE FROM silences", "silences", "is missing; the ledger names it"),
        ("UPDATE corrections SET label = 'positive'", "corrections", "not what the ledger says"),
        ("UPDATE corrections SET corrected_by = 'eve'", "corrections", "not what the ledger says"),
        ("DELETE FROM corrections", "corrections", "is missing; the ledger names it"),
    ],
)
def test_what_other_tables_say_is_held_against_the_ledger(
    path: Path, statement: str, table: str, reason: str
) -> None:
    unlocked(path).executescript(statement)
    broken = verified(path).broken
    assert broken is not None
    assert broken.table == table
    assert reason in broken.reason


def test_the_first_bad_row_is_named_with_its_id(path: Path) -> None:
    connection = unlocked(path)
    connection.execute("UPDATE alert_events SET actor = 'nobody' WHERE sequence IN (3, 5)")
    (event_id,) = connection.execute("SELECT id FROM alert_events WHERE sequence = 3").fetchone()
    broken = verified(path).broken
    assert broken is not None
    assert (broken.table, broken.sequence, broken.id) == ("alert_events", 3, event_id)
    with Store.open(path) as store, pytest.raises(LedgerError, match="broken at row 3"):
        proven_end(store)


def test_rows_that_a_rewriter_made_agree_are_found_by_the_head_alone(path: Path) -> None:
    with Store.open(path) as store:
        head = sign(proven_end(store), None)
    connection = unlocked(path)
    connection.execute("UPDATE alert_events SET actor = 'nobody' WHERE event = 'commented'")
    rehash(connection)
    assert verified(path).holds
    broken = verified(path, head).broken
    assert broken is not None
    assert "not the row that the head was taken of" in broken.reason


def test_an_event_that_stands_twice_in_a_good_chain_is_found(path: Path) -> None:
    connection = unlocked(path)
    columns = ", ".join(name for name in LedgerRow.__struct_fields__ if name != "sequence")
    (count,) = connection.execute("SELECT count(*) FROM alert_events").fetchone()
    connection.executescript(
        "CREATE TABLE copy AS SELECT * FROM alert_events;"
        "DROP TABLE alert_events; ALTER TABLE copy RENAME TO alert_events;"
        f"INSERT INTO alert_events (sequence, {columns})"
        f" SELECT {count + 1}, {columns} FROM alert_events WHERE event = 'commented'"
    )
    rehash(connection)
    broken = verified(path).broken
    assert broken is not None
    assert (broken.sequence, "stands in the ledger twice" in broken.reason) == (count + 1, True)


def test_rows_that_an_index_hides_are_missed(path: Path) -> None:
    """The chain is read row by row, the alerts by an index, which can be made to lie."""
    connection = unlocked(path)
    connection.executescript(
        "DROP INDEX ix_alert_events_alert_id;"
        "CREATE INDEX ix_alert_events_alert_id ON alert_events (event);"
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET sql ="
        " 'CREATE INDEX ix_alert_events_alert_id ON alert_events (alert_id)'"
        " WHERE name = 'ix_alert_events_alert_id'"
    )
    connection.close()
    assert not verified(path).holds


def test_proof_and_export_hold_few_rows_of_a_long_ledger(path: Path) -> None:
    with Store.open(path) as store:
        long = "words " * 2_000
        for _ in range(20):
            with store.transaction() as tx:
                for number in range(100):
                    name = f"user:{number}"
                    record_fact(tx, "user-added", name, actor="ada", now=CLOCK, text=long)
        for work in (lambda: prove(store).holds, lambda: exported(store)):
            tracemalloc.start()
            assert work()
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert most < 12_000_000  # of 24,000,000 in the ledger


def exported(store: Store) -> bool:
    with gathered(store, one(changes()[0].alert_id)) as dossier:
        return sum(record["record"] == "link" for record in dossier.records()) > 2_000


# Erasing.


def texts(store: Store) -> str:
    tables = schema.metadata.tables.values()
    return repr([store.rows(select(table)) for table in tables])


def test_an_erased_text_is_gone_and_everything_still_holds(store: Store) -> None:
    message_id = changes()[0].alert.evidence["message_ids"][0]
    assert f"of {message_id}" in texts(store)
    with store.transaction() as tx:
        rows = erase(tx, message_id, reason="Article 17", actor="jane", now=CLOCK)
    assert [row.details["text"] for row in rows] == ["Article 17"]
    assert f"of {message_id}" not in texts(store)
    proof = prove(store)
    assert proof.holds, proof.broken
    assert proof.erased == [message_id]
    with store.transaction() as tx:
        assert message_id not in tx.salts([message_id])
        with pytest.raises(DecisionRefused, match="was erased before"):
            erase(tx, message_id, reason="again", actor="jane", now=CLOCK)
        with pytest.raises(DecisionRefused, match="no message 'x'"):
            erase(tx, "x", reason="again", actor="jane", now=CLOCK)
        with pytest.raises(DecisionRefused, match="reason is empty"):
            erase(tx, "other", reason=" ", actor="jane", now=CLOCK)


def test_the_erasure_of_what_no_alert_shows_is_in_the_ledger_too(store: Store) -> None:
    with store.transaction() as tx:
        row = {**message_row("unseen"), "published_at": CLOCK}
        tx.upsert("messages", [row])
        assert erase(tx, "unseen", reason="Article 17", actor="jane", now=CLOCK) == []
    last = store.events()[-1]
    assert (last["event"], last["subject"], last["actor"]) == ("erased", "message:unseen", "jane")
    assert prove(store).erased == ["unseen"]


def test_an_erased_text_leaves_no_trace_in_the_file(path: Path) -> None:
    message_id = changes()[0].alert.evidence["message_ids"][0]
    secret = f"of {message_id}".encode()
    assert secret in path.read_bytes()
    with Store.open(path) as store:
        with store.transaction() as tx:
            erase(tx, message_id, reason="Article 17", actor="jane", now=CLOCK)
        store.flush()
    assert all(secret not in file.read_bytes() for file in path.parent.glob("store.db*"))


def test_a_text_that_nobody_erased_may_not_be_missing(path: Path) -> None:
    statement = "UPDATE alerts SET evidence = replace(evidence, 'Boeing', '[erased]')"
    unlocked(path).execute(statement)
    broken = verified(path).broken
    assert broken is not None
    assert "does not match its seal" in broken.reason


# PostgreSQL: what the least privileged role may do.


def test_the_pipelines_role_can_add_to_the_ledger_and_no_more(
    postgresql_url: str, postgresql_server: str
) -> None:
    Store.upgrade(postgresql_url)
    with Store.open(postgresql_url) as owner:
        owner.make_roles()
        with owner.engine.begin() as connection:
            connection.exec_driver_sql("CREATE ROLE watcher LOGIN IN ROLE foreshock_writer")
            connection.exec_driver_sql("CREATE ROLE auditor LOGIN IN ROLE foreshock_reader")
    with Store.open(postgresql_url.replace("tester@", "watcher@")) as store:
        fill(store)
        assert prove(store).holds
        for statement in (
            "UPDATE alert_events SET actor = 'x'",
            "DELETE FROM alert_events",
            "TRUNCATE alert_events",
            "DROP TABLE alert_events",
            "ALTER TABLE alert_events DISABLE TRIGGER ALL",
            "DELETE FROM evidence_salts",
            "DELETE FROM alerts",
        ):
            with (
                pytest.raises(Exception, match=r"permission denied|must be owner"),
                store.engine.begin() as connection,
            ):
                connection.execute(text(statement))
        assert prove(store).holds
    with Store.open(postgresql_url.replace("tester@", "auditor@")) as store:
        assert prove(store).holds
        alert = changes()[0].alert_id
        with pytest.raises(StoreError, match="permission denied"), store.transaction() as tx:
            record_decision(tx, alert, Comment("hm"), actor="eve", now=CLOCK)


def test_the_owner_himself_is_stopped_by_the_trigger(store: Store) -> None:
    statements = ["UPDATE alert_events SET actor = 'x'", "DELETE FROM alert_events"]
    if store.engine.dialect.name == "postgresql":
        statements.append("TRUNCATE alert_events")
    for statement in statements:
        with pytest.raises(Exception, match="append-only"), store.engine.begin() as connection:
            connection.execute(text(statement))
