"""How the long-running processes log. Changes no row."""

from typing import Literal

import msgspec


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`format`: console for people, json for machines, one object a line. `level`: from which one
    on; debug follows every message through every step."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"
