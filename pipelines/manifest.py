"""The manifest of a replay: all that its rows depend on. It alone reproduces the run."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

from models.tags import ModelIdentity

VERSION = importlib.metadata.version("foreshock")


def manifest(
    *,
    sources: Sequence[Mapping[str, Any]],
    parsing: Mapping[str, Any],
    configuration: Mapping[str, Any],
    model: ModelIdentity,
) -> dict[str, Any]:
    """`sources`: name, checksum and size of each, in order; `parsing`: how records become messages;
    `configuration`: what `Configuration.meaning` returns."""
    return {
        "schema": 1,
        "code": VERSION,
        "sources": [dict(source) for source in sources],
        "parsing": dict(parsing),
        "configuration": dict(configuration),
        "model": {
            "name": model.name,
            "version": model.version,
            "checksum": model.checksum,
            "numeric_path": model.numeric_path,
        },
    }


def digest(value: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the SHA-256 of the canonical JSON of `value`."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
