"""`Sole`: at most one process at a time does a certain work on a store.

The lock is the operating system's (SQLite: a file beside the database) or the server's (PostgreSQL:
an advisory lock of a connection), so it goes with its holder, however he ends.
"""

import fcntl
import hashlib
import os
from contextlib import suppress
from typing import IO

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from connectors.errors import StoreError, StoreUnavailable
from connectors.store.store import Store


class Taken(StoreError):
    """Another process holds the lock."""


class Sole:
    """The lock `name` of a store: `hold` it before each piece of work, `release` it at the end."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._file: IO[bytes] | None = None
        self._connection: Connection | None = None

    def hold(self) -> None:
        """Takes the lock, or makes sure of it.

        Raises `Taken`, or StoreUnavailable where the server is away; then the lock is lost.
        """
        if self._store.engine.dialect.name == "sqlite":
            self._hold_file()
        else:
            self._hold_connection()

    def release(self) -> None:
        """Gives the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._connection is not None:
            with suppress(SQLAlchemyError):  # where the server is gone, so is the lock
                self._connection.execute(select(func.pg_advisory_unlock(self._number())))
            self._connection.close()
            self._connection = None

    def _hold_file(self) -> None:
        if self._file is not None:
            return
        path = f"{self._store.engine.url.database}.{self._name}.lock"
        try:
            file = open(path, "ab")  # noqa: SIM115
        except OSError as error:
            raise StoreError(f"the lock {path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise self._taken() from error
        os.set_inheritable(file.fileno(), False)
        self._file = file

    def _hold_connection(self) -> None:
        try:
            if self._connection is not None:
                self._connection.execute(select(1))
                return
            connection = self._store.engine.connect().execution_options(
                isolation_level="AUTOCOMMIT"
            )
            lock = func.pg_try_advisory_lock(self._number())
            got = connection.execute(select(lock)).scalar()
        except SQLAlchemyError as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            raise StoreUnavailable(
                f"{self._store.url} cannot be reached: is its server running?"
            ) from error
        if not got:
            connection.close()
            raise self._taken()
        self._connection = connection

    def _number(self) -> int:
        digest = hashlib.sha256(f"foreshock {self._name}".encode()).digest()
        return int.from_bytes(digest[:8], signed=True)

    def _taken(self) -> Taken:
        return Taken(
            f"another process holds the lock {self._name!r} of {self._store.url}: stop it first"
        )
