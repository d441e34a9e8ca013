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

_DEADLINE = 60.0
_VERSIONS = Path("/usr/lib/postgresql")
_SERVERS_USER = "postgres"
"""PostgreSQL refuses to run as root."""


def programs() -> Path | None:
    """The folder with `initdb` and `postgres` of the newest version that is installed."""
    found = [path.parent for path in _VERSIONS.glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name)) if found else None


@contextmanager
def running(programs: Path) -> Iterator[str]:
    """A server without databases of its own; gives the address of its maintenance database."""
    folder = Path(tempfile.mkdtemp(prefix="foreshock-postgresql-"))
    user = _SERVERS_USER if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user, user)
    data, port = folder / "data", free_port()
    initialise = [programs / "initdb", "--pgdata", data, "--auth=trust", "--username=tester"]
    subprocess.run(
        [*initialise, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    listen = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, *listen, "-c", "fsync=off"],
        user=user,
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    url = f"postgresql://tester@127.0.0.1:{port}/postgres"
    try:
        _wait_for(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(_DEADLINE)
        shutil.rmtree(folder)


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
