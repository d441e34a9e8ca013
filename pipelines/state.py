"""State between slices: each stateful core's versioned bytes, one row of `run_state` a component.

Cores that remember the last hours keep a segment for each hour, so that a slice writes only the
segments that it changed.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from connectors.errors import ConnectorError

Components = dict[str, tuple[int, bytes | None]]
"""Component -> (version, bytes); None: the component is gone."""

SEGMENT_VERSION = 1


class StateError(ConnectorError):
    """A stored state that this release cannot go on from."""

    def __init__(self, component: str, found: int, known: int) -> None:
        super().__init__(
            f"The stored state of '{component}' has version {found}; this release reads {known}. "
            "Replay into a new database, or use the release that wrote this one."
        )


class Segmented(Protocol):
    """A core whose state lies in segments of one hour of event time."""

    def changes(self) -> Iterator[tuple[int, bytes | None]]: ...

    def load(self, hour: int, payload: bytes) -> None: ...


def save_segments(component: str, core: Segmented) -> Components:
    """The segments that changed since the last call."""
    return {
        f"{component}/{hour:010d}": (SEGMENT_VERSION, payload) for hour, payload in core.changes()
    }


def load_segments(
    component: str, core: Segmented, components: Mapping[str, tuple[int, bytes]]
) -> None:
    """Gives `core` its segments back, in order of time."""
    for name in sorted(components):
        kind, _, hour = name.partition("/")
        if kind != component:
            continue
        version, payload = components[name]
        if version != SEGMENT_VERSION:
            raise StateError(component, version, SEGMENT_VERSION)
        core.load(int(hour), payload)
