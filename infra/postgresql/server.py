"""A PostgreSQL for one machine, as an ordinary process with its data in a folder.

It listens at a socket in that folder and nowhere else, and only its owner can enter the folder: so
it asks for no password. As root it runs as the user `postgres`, for it refuses to run as root.
"""

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

_VERSIONS = Path("/usr/lib/postgresql")
_NAME = "foreshock"
_SERVERS_USER = "postgres"
_LONGEST_SOCKET = 107
_START_SECONDS = "60"
_AFTER_A_CRASH = 2.0


class ServerFailed(Exception):
    """The server could not be started; the message says what to do."""


def programs() -> Path | None:
    """The folder with `initdb` and `pg_ctl` of the newest version that is installed."""
    found = [path.parent for path in _VERSIONS.glob("*/bin/pg_ctl")]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    elsewhere = shutil.which("pg_ctl")
    return Path(elsewhere).parent if elsewhere else None


class Server:
    """The server of `folder`, whoever started it, with one database and its owner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @property
    def url(self) -> str:
        return f"postgresql://{_NAME}@/{_NAME}?host={self.folder}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> bool:
        """Starts it unless it runs, and says whether that was needed; raises ServerFailed."""
        if self.answers():
            return False
        if len(str(self._socket)) > _LONGEST_SOCKET:
            raise ServerFailed(
                f"PostgreSQL cannot have its socket in {self.folder}: the path is too long, so "
                "work in another folder"
            )
        new = not (self._data / "PG_VERSION").exists()
        if new:
            self._make_folder()
            encoding = ("--encoding=UTF8", "--locale=C.UTF-8")
            self._run("initdb", *self._where, "--auth=trust", f"--username={_NAME}", *encoding)
        listen = f"-k {shlex.quote(str(self.folder))} -c listen_addresses="
        wait = ("-w", "-t", _START_SECONDS)
        start = ("start", *self._where, *wait, "-l", str(self.log), "-o", listen)
        try:
            self._run("pg_ctl", *start)
        except ServerFailed:
            time.sleep(_AFTER_A_CRASH)  # what the dead one has left is still ending
            self._run("pg_ctl", *start)
        if new:
            self._run("createdb", f"--host={self.folder}", f"--username={_NAME}", _NAME)
        return True

    def stop(self) -> None:
        """Ends it where it runs; raises ServerFailed."""
        if self.answers():
            self._run("pg_ctl", "stop", *self._where, "-w", "-m", "fast")

    def answers(self) -> bool:
        """Whether it runs and takes connections."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self._socket))
            except OSError:
                return False
        return True

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _where(self) -> tuple[str, str]:
        return "-D", str(self._data)

    @property
    def _socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if os.geteuid() == 0:
            shutil.chown(self.folder, _SERVERS_USER, _SERVERS_USER)

    def _run(self, program: str, *arguments: str) -> None:
        found = programs()
        if found is None:
            raise ServerFailed("PostgreSQL is not installed (apt-get install postgresql)")
        # To a file: the server keeps what it inherits open, and nobody would see a pipe's end.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(  # noqa: S603
                [str(found / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                user=_SERVERS_USER if os.geteuid() == 0 else None,
                cwd=self.folder,
                check=False,
            )
            said.seek(0)
            words = said.read().decode("utf-8", "replace").strip()
        if done.returncode:
            raise ServerFailed(f"PostgreSQL in {self.folder}: {program} failed: {words[-500:]}")
