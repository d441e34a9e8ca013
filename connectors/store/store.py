"""`Store`: one database, opened, checked against the schema, and used in transactions."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    Table,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)

from connectors.closing import Closing
from connectors.errors import StoreError, StoreUnavailable
from connectors.store.migration import upgrade
from connectors.store.partitions import make_partitions, months_ahead
from connectors.store.raw import encode_json
from connectors.store.roles import make_roles
from connectors.store.schema import REVISIONS, alert_events, alerts, dead_letters
from connectors.store.transaction import Transaction, first, rows
from connectors.store.writing import Writer

_WRITES = "foreshock_writes"
_UPGRADE_LOCK = 0x666F7266  # next to the ledger's


class Upgrade(NamedTuple):
    """From which version of the schema to which; `before` is None where there were no tables."""

    before: str | None
    after: str


class Store(Closing):
    """One database. Open it with `Store.open`; close it, or use it as a context manager.

    Every method raises StoreError where the database fails.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = Writer(engine.dialect)

    @classmethod
    def open(cls, url: str | Path, *, busy_seconds: float = 30.0) -> Self:
        """Opens the database at `url`: `sqlite:///file.db`, a plain path, or `postgresql://…`.

        A SQLite file is created and brought to the current schema; a PostgreSQL database must have
        been brought to it by `Store.upgrade`. A writer waits `busy_seconds` for another one.

        Raises StoreError where it cannot be opened, is not ours, or is newer than this version.
        """
        store = cls(_engine(url, busy_seconds))
        try:
            if store.engine.dialect.name == "sqlite":
                store._prepare_sqlite(busy_seconds)
                store._bring_up()
            else:
                store._check_revision()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def existing(cls, url: str | Path) -> Self:
        """Opens a database that must be there: for those who only read; raises StoreError."""
        parsed = _parsed(url)
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
            raise StoreError(f"there is no store at {parsed.database}: fill one with a replay")
        return cls.open(url)

    @classmethod
    def upgrade(cls, url: str | Path) -> Upgrade:
        """Creates the tables at `url`, or brings them to the current schema; raises StoreError."""
        with cls(_engine(url, 30.0)) as store:
            if store.engine.dialect.name == "sqlite":
                store._prepare_sqlite(30.0)
            before = store._bring_up()
            store.make_room()
            return Upgrade(before, REVISIONS[-1])

    def make_room(self) -> None:
        """Makes the partitions of the months to come; SQLite has none."""
        if self.engine.dialect.name == "postgresql":
            with self._connected(writes=True) as connection:
                make_partitions(connection, months_ahead(datetime.now(UTC)))

    def make_roles(self) -> None:
        """Makes the roles of `connectors.store.roles`, and sets what they may do; PostgreSQL's."""
        if self.engine.dialect.name != "postgresql":
            raise StoreError(
                f"{self.url} is a file and has no roles: who may write it is the "
                "operating system's affair"
            )
        with self._connected(writes=True) as connection:
            make_roles(connection)

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()

    @property
    def url(self) -> str:
        """Where the database is; the password is hidden."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction for writing: committed at the end of the block, undone on an exception.

        SQLite has one writer at a time: the others wait at the start of the block.
        """
        with self._connected(writes=True) as connection:
            yield Transaction(connection, self._writer)

    def flush(self) -> None:
        """Empties SQLite's log into the file, so that nothing erased stays in it.

        PostgreSQL's own ways (VACUUM, its log, backups) are its administrator's.
        """
        if self.engine.dialect.name == "sqlite":
            with self.engine.connect() as connection:
                connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection that sees one consistent moment of the whole store, and only reads."""
        options: dict[str, Any] = {}
        if self.engine.dialect.name == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._connected(writes=False, **options) as connection:
            yield connection

    def rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        """What `query` selects, as dicts, of one consistent moment."""
        with self._connected(writes=False) as connection:
            return rows(connection, query)

    def alerts(
        self,
        *,
        state: str | None = None,
        key: str | None = None,
        configuration: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Alerts, the newest first."""
        query = select(alerts).order_by(alerts.c.opened_at.desc(), alerts.c.id).limit(limit)
        if state is not None:
            query = query.where(alerts.c.state == state)
        if key is not None:
            query = query.where(alerts.c.key == key)
        if configuration is not None:
            query = query.where(alerts.c.configuration == configuration)
        return self.rows(query)

    def alert(self, alert_id: str) -> dict[str, Any] | None:
        """One alert, None where there is none."""
        return first(self.rows(select(alerts).where(alerts.c.id == alert_id)))

    def events(self, alert_id: str | None = None) -> list[dict[str, Any]]:
        """The ledger in its order: of one alert, or all of it."""
        query = select(alert_events).order_by(alert_events.c.sequence)
        if alert_id is not None:
            query = query.where(alert_events.c.alert_id == alert_id)
        return self.rows(query)

    def dead_letters(
        self, *, stage: str | None = None, reason: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Dead letters by source and place."""
        table = dead_letters.c
        place = (table.source, table.topic, table.partition, table.offset, table.line, table.id)
        query = select(dead_letters).order_by(*place).limit(limit)
        if stage is not None:
            query = query.where(table.stage == stage)
        if reason is not None:
            query = query.where(table.reason == reason)
        return self.rows(query)

    def dead_letter(self, dead_letter_id: str) -> dict[str, Any] | None:
        """One dead letter, None where there is none."""
        return first(self.rows(select(dead_letters).where(dead_letters.c.id == dead_letter_id)))

    def find(self, table: Table, beginning: str, listing: str) -> dict[str, Any]:
        """The one row of `table` whose id begins so; else StoreError, naming the `listing` command.

        Only ids are compared: a row may hold a megabyte.
        """
        ids = [row["id"] for row in self.rows(select(table.c.id))]
        found = [row_id for row_id in ids if row_id.startswith(beginning)]
        if len(found) != 1:
            name = table.name.replace("_", " ")
            raise StoreError(
                f"{len(found)} {name} have an id that begins with '{beginning}'. "
                f"See the ids with: {listing}"
            )
        return self.rows(select(table).where(table.c.id == found[0]))[0]

    @contextmanager
    def _connected(self, *, writes: bool, **options: Any) -> Iterator[Connection]:
        driver = self.engine.dialect.loaded_dbapi  # its own errors: a load asks it directly
        try:
            with (
                self.engine.connect().execution_options(
                    **{_WRITES: writes}, **options
                ) as connection,
                connection.begin(),
            ):
                yield connection
        except (OperationalError, InterfaceError, driver.OperationalError) as error:
            raise StoreUnavailable(_explained(self.url, error)) from error
        except (SQLAlchemyError, driver.Error) as error:
            raise StoreError(_explained(self.url, error)) from error

    def _prepare_sqlite(self, busy_seconds: float) -> None:
        """Turns on the write-ahead log: it stays with the file.

        The switch needs the file for itself and does not wait for it, so waiting is done here.
        """
        deadline = time.monotonic() + busy_seconds
        while True:
            try:
                with self.engine.connect() as connection:
                    connection.connection.execute("PRAGMA journal_mode=WAL")
                return
            except (DBAPIError, sqlite3.Error) as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise StoreError(_explained(self.url, error)) from error
                time.sleep(0.02)

    def _bring_up(self) -> str | None:
        """Returns the revision that it found."""
        found = self._current()
        if found == REVISIONS[-1]:
            return found
        with self._connected(writes=True) as connection:
            if self.engine.dialect.name == "postgresql":  # SQLite has one writer anyway
                connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            found = self._revision(connection)  # another process may have been faster
            if found != REVISIONS[-1]:
                upgrade(connection)
        return found

    def _current(self) -> str | None:
        with self._connected(writes=False) as connection:
            return self._revision(connection)

    def _check_revision(self) -> None:
        if self._current() != REVISIONS[-1]:
            raise StoreError(
                f"the tables of {self.url} are missing or older than this version: upgrade them "
                "first (foreshock database upgrade)"
            )

    def _revision(self, connection: Connection) -> str | None:
        tables = inspect(connection).get_table_names()
        if "alembic_version" not in tables:
            if tables and self.engine.dialect.name == "sqlite":
                raise StoreError(
                    f"{self.url} is the database of another program (it has a table "
                    f"{tables[0]!r}): give a new file"
                )
            return None
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if revision is not None and revision not in REVISIONS:
            raise StoreError(
                f"{self.url} was written by a newer version (schema {revision}, this one knows "
                f"{REVISIONS[-1]}): install the newer version"
            )
        return revision


def _engine(url: str | Path, busy_seconds: float) -> Engine:
    try:
        parsed = _parsed(url)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise StoreError(f"a store is SQLite or PostgreSQL, not {parsed.get_backend_name()}")
        engine = create_engine(parsed, json_serializer=lambda value: encode_json(value).decode())
    except ImportError as error:
        raise StoreError(f"the driver for {parsed} is not installed: {error}") from error
    except (ArgumentError, ValueError) as error:
        raise StoreError(
            f"{url!r} is not the address of a store: write sqlite:///FILE or postgresql://…"
        ) from error
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine, busy_seconds)
    else:
        event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _parsed(url: str | Path) -> URL:
    if isinstance(url, Path) or "://" not in url:
        return URL.create("sqlite", database=str(url))
    parsed = make_url(url)
    # Name the driver: which one SQLAlchemy picks by itself depends on its version.
    plain = parsed.drivername in ("postgresql", "postgres")
    return parsed.set(drivername="postgresql+psycopg") if plain else parsed


def _set_up_postgresql(connection: Any, _record: object) -> None:
    # To compile queries as short as ours takes longer than they do: up to seconds.
    connection.autocommit = True
    connection.execute("SET jit = off")
    connection.autocommit = False


def _set_up_sqlite(engine: Engine, busy_seconds: float) -> None:
    database = Path(engine.url.database or "")
    if not database.name or database.name == ":memory:":
        raise StoreError("a store must be a file: write sqlite:///FILE")
    if not database.parent.is_dir():
        raise StoreError(f"the folder {database.parent} does not exist: create it first")

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions by itself, and too late; _begin does it.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={round(busy_seconds * 1000)}",
            "foreign_keys=ON",
            # Each commit reaches the disk: the ledger must survive a loss of power. Commits are
            # few (one a slice), so this costs little.
            "synchronous=FULL",
            # Else REPLACE would delete rows behind the back of the ledger's triggers.
            "recursive_triggers=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer that began as a reader cannot wait for its turn: it fails at once.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _explained(url: str, error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    said = " ".join(str(cause).split())
    for part, sentence in _EXPLANATIONS.items():
        if part in said:
            return f"{url} {sentence}"
    return f"{url} failed: {said}"


_EXPLANATIONS = {
    "is not a database": "is not a SQLite database: give another file",
    "unable to open database": "cannot be opened: check the permissions of the file and its folder",
    "readonly database": "may not be written: check the permissions of the file and its folder",
    "database is locked": "is locked by another process: wait for it to finish, or stop it",
    "lock timeout": "has a table that somebody reads for long: try again when he is done",
    "No space left": "cannot be written because its disk is full: free some space and start again",
    "disk is full": "cannot be written because the disk is full: free some space and start again",
    "disk I/O error": "cannot be written or read because of a disk error: check the disk",
    "append-only": "holds a ledger that can only be added to",
}
