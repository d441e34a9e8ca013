"""A PostgreSQL server for a run of the tests, from the system's package."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from infra.postgresql.server import programs as programs

_DEADLINE = 60.0
_SERVERS_USER = "postgres"
"""PostgreSQL refuses to run as root."""


class Server:
    """A server without databases of its own, in a folder that goes with it."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="foreshock-postgresql-"))
        self._user = _SERVERS_USER if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user, self._user)
        self._port = free_port()
        initialise = [programs / "initdb", "--pgdata", self._data, "--auth=trust"]
        subprocess.run(
            [*initialise, "--username=tester", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True,
            capture_output=True,
            user=self._user,
            cwd=self._folder,
        )

    @property
    def url(self) -> str:
        """The address of its maintenance database."""
        return f"postgresql://tester@127.0.0.1:{self._port}/postgres"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Starts it, after a kill too, and waits until it answers."""
        listen = [
            "-p",
            str(self._port),
            "-k",
            str(self._folder),
            "-c",
            "listen_addresses=127.0.0.1",
        ]
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", self._data, *listen, "-c", "fsync=off"],
            user=self._user,
            cwd=self._folder,
            stderr=subprocess.DEVNULL,
        )
        _wait_for(self.url, self._process)

    def kill(self) -> None:
        """Ends it at once, as a crash would; what it had written is there again."""
        self._process.kill()
        self._process.wait(_DEADLINE)

    def remove(self) -> None:
        """Ends it, and removes all that it held."""
        self._process.terminate()
        self._process.wait(_DEADLINE)
        shutil.rmtree(self._folder)


@contextmanager
def running(programs: Path) -> Iterator[str]:
    """A server; gives the address of its maintenance database."""
    server = Server(programs)
    server.start()
    try:
        yield server.url
    finally:
        server.remove()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _DEADLINE
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
