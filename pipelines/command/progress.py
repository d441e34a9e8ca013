"""Progress with rate and time left, on standard error: a moving line for people at a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pipelines.command.console import err, inert


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar that shows nothing where standard error is not a terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    ) as progress:
        yield progress


class Bars:
    """A bar for each source that is read, then one for the work on all of it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._reading: dict[str, TaskID] = {}
        self._work: TaskID | None = None

    def reading(self, name: str, done: int, size: int) -> None:
        task = self._reading.get(name)
        if task is None:
            task = self._reading[name] = self._progress.add_task(f"Reading {inert(name)}")
        self._progress.update(task, completed=done, total=size)

    def working(self, description: str, done: int, total: int) -> None:
        if self._work is None:
            for task in self._reading.values():
                self._progress.remove_task(task)
            self._work = self._progress.add_task(description)
        self._progress.update(self._work, completed=done, total=total, description=description)

    def remark(self, text: str) -> None:
        err.print(inert(text), markup=False)
