"""Tagging that outlives a text which kills the process that tags it.

What is under way stands in a file. A worker that finds the file of a dead one tags the messages in
it singly, and one that was under way alone in two crashes more is put aside: three crashes at the
same place. Whoever kills workers at random hits another message each time.
"""

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from connectors.message import Message
from models.checkpoints.cache import cache_folder
from models.entities import Recogniser
from models.tagger import Tagger, TaggingError
from pipelines.tagging import Result, TagBatch, failed, tag_messages

_MOST_CRASHES = 3
_CRASHES = "crashes.json"
_SUFFIX = ".tried"


class CarefulTagging:
    """`tag_messages` for the workers of one job on one machine."""

    def __init__(self, run_id: str, tag: TagBatch = tag_messages) -> None:
        self._run_id = run_id
        self._tag = tag
        self._crashes: Counter[str] | None = None

    def __call__(
        self, messages: Sequence[Message], tagger: Tagger, recogniser: Recogniser
    ) -> list[Result]:
        if self._crashes is None:
            self._crashes = self._look()
        crashes = self._crashes
        if not any(message.id in crashes for message in messages):
            with self._tried(messages):
                return self._tag(messages, tagger, recogniser)
        results: list[Result] = []
        for message in messages:
            if crashes[message.id] >= _MOST_CRASHES:
                results.append(failed(message, TaggingError("The worker died of it, three times.")))
                continue
            with self._tried([message]):
                results += self._tag([message], tagger, recogniser)
            crashes.pop(message.id, None)
        return results

    @property
    def _folder(self) -> Path:
        return cache_folder() / "crashes" / self._run_id

    @contextmanager
    def _tried(self, messages: Sequence[Message]) -> Iterator[None]:
        path = self._folder / f"{os.getpid()}-{uuid.uuid4().hex}{_SUFFIX}"
        path.write_text(json.dumps([message.id for message in messages]), encoding="utf-8")
        try:
            yield
        finally:  # an exception is no crash
            path.unlink(missing_ok=True)

    def _look(self) -> Counter[str]:
        """How many crashes each message has seen, on the word of those who died."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / _CRASHES
        crashes: Counter[str] = Counter(json.loads(path.read_text()) if path.exists() else {})
        dead = [tried for tried in self._folder.glob(f"*{_SUFFIX}") if not _alive(tried)]
        for tried in dead:
            crashes.update(_ids(tried))
        if dead:
            written = path.with_suffix(f".{os.getpid()}")
            written.write_text(json.dumps(crashes), encoding="utf-8")
            written.replace(path)
            for tried in dead:
                tried.unlink(missing_ok=True)
        return crashes


def _alive(tried: Path) -> bool:
    return Path("/proc", tried.name.partition("-")[0]).exists()


def _ids(tried: Path) -> list[str]:
    try:
        ids: list[str] = json.loads(tried.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # died while it was written, or another one was faster
        return []
    return ids
