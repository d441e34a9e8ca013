"""What keyed steps remember: written to Beam's state, and held in the process besides.

Reading state back from the engine for each bundle would cost more than the work. So a step writes
what changed, and reads only where the process does not hold what the state says: after a start, or
where a bundle failed half way. A mark in the state, new with every bundle, tells which.
"""

import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from apache_beam.coders import StrUtf8Coder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

T = TypeVar("T")

MARK = ReadModifyWriteStateSpec("mark", StrUtf8Coder())


@dataclass
class _Held:
    mark: str | None
    value: Any


class Memory(Generic[T]):
    """The values of one step during one bundle. Make one in `start_bundle`."""

    _process: ClassVar[dict[tuple[str, Hashable], _Held]] = {}

    def __init__(self, step: str) -> None:
        """`step`: a name that no other step of any job has."""
        self._step = step
        self._taken: dict[Hashable, T] = {}

    def take(self, key: Hashable, mark: Any, restore: Callable[[], T]) -> T:
        """The value of `key`; `restore` makes it from the state. `mark`: the state MARK."""
        if key in self._taken:
            return self._taken[key]
        place = (self._step, key)
        held = self._process.get(place)
        if held is None or held.mark != mark.read():
            held = _Held(None, None)  # not to be found half restored
            held.value = restore()
        held.mark = uuid.uuid4().hex
        mark.write(held.mark)
        self._process[place] = held
        self._taken[key] = held.value
        return self._taken[key]
