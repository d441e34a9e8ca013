"""What the command prints: results for people on standard output, or JSON for machines; the rest
(progress, remarks, errors) on standard error."""

import json
import logging
import sys
from typing import Any

from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_log = logging.getLogger(__name__)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def remark(text: str, *, trouble: bool = False) -> None:
    """Of a long-running process: to whoever sits at its terminal, else into its log."""
    if err.is_terminal:
        style = "yellow" if trouble else ""
        err.print(inert(text), style=style, markup=False, soft_wrap=True)
    else:
        _log.log(logging.WARNING if trouble else logging.INFO, "%s", text)


def inert(text: str) -> str:
    """`text` without control characters, so that a message cannot drive the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
