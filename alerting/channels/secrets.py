"""Secrets of channels: from the environment or a file, never from the settings, never printed."""

import os
import re
from pathlib import Path

from alerting.errors import ConfigurationError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def checked_name(name: str) -> str:
    """`name`, where a channel may be called so; raises `ConfigurationError`."""
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"{name!r} cannot be the name of a channel: small letters, digits and '-', at most 64"
        )
    return name


def variable(name: str, field: str) -> str:
    """The environment variable of a channel's secret: `FORESHOCK_CHANNEL_DESK_PASSWORD`."""
    return f"FORESHOCK_CHANNEL_{name}_{field}".upper().replace("-", "_")


def secret(name: str, field: str, file: Path | None) -> str | None:
    """The secret of the channel `name`, None where there is none; raises `ConfigurationError`."""
    if value := os.environ.get(variable(name, field)):
        return value
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n") or None
    except (OSError, UnicodeDecodeError) as error:
        detail = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(
            f"{field}_file of the channel {name!r}, {file}, cannot be read: {detail}"
        ) from error


def needed(name: str, field: str, file: Path | None) -> str:
    """`secret`, where the channel cannot do without."""
    value = secret(name, field, file)
    if value is None:
        raise ConfigurationError(
            f"the {field} of the channel {name!r} is not set: put it into {variable(name, field)}, "
            f"or into a file that `{field}_file` in [channels.{name}] names"
        )
    return value
