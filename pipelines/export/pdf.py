"""The page for examination, printed by a browser without a window, where there is one.

The page is the one that people read: hostile text in it is inert, and its policy runs no script but
its own. The browser finds no address to ask, and keeps its own sandbox wherever it can.
"""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore

from alerting.errors import AlertingError

BROWSER = "FORESHOCK_BROWSER"
"""The environment variable that names another program."""

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SECONDS = 300.0
_PRINTING = BoundedSemaphore(2)  # a browser takes hundreds of megabytes
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-pdf-header-footer",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",
)


class PdfError(AlertingError):
    """Nothing here can print."""


def browser() -> str | None:
    """The program that prints: Chromium or Chrome; None where there is none."""
    named = os.environ.get(BROWSER)
    return next(filter(None, map(shutil.which, (named,) if named else _PROGRAMS)), None)


def write(path: Path, page: str) -> None:
    """Prints the page of HTML to `path`, whole or not at all. Raises `PdfError`, OSError."""
    program = browser()
    if program is None:
        raise PdfError(
            f"no Chromium or Chrome is installed ({BROWSER} may name one), so nothing can print a "
            "PDF here: take --format html, open it in a browser and print it there"
        )
    with TemporaryDirectory(dir=path.parent.resolve(), prefix=f".{path.name}.") as name:
        folder = Path(name)
        source, target = folder / "page.html", folder / "page.pdf"
        source.write_text(page, encoding="utf-8")
        with _PRINTING:
            _print(program, source, target, folder / "profile")
        target.chmod(0o644)
        os.replace(target, path)


def _print(program: str, source: Path, target: Path, profile: Path) -> None:
    flags = [*_FLAGS, f"--user-data-dir={profile}", f"--print-to-pdf={target}"]
    if os.geteuid() == 0:  # its sandbox refuses to work for root
        flags.append("--no-sandbox")
    try:
        done = subprocess.run(  # noqa: S603 - a browser that was asked for
            [program, *flags, source.as_uri()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PdfError(
            f"{program} did not print within {_SECONDS:g} s: export fewer alerts, or take HTML"
        ) from error
    if done.returncode != 0 or not target.is_file():
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise PdfError(f"{program} did not print: {said[-1] if said else done.returncode}")
