"""Work that goes on in a thread of its own beside what a process does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def beside(work: Callable[[Event], None], stop: Event, name: str) -> Iterator[None]:
    """Does the work for the length of the block, at whose end its event is set.

    An error of the work sets `stop`, for the block to end, and is raised after it.
    """
    done = Event()
    errors: list[Exception] = []

    def working() -> None:
        try:
            work(done)
        except Exception as error:  # raised again, after the block
            errors.append(error)
            stop.set()

    thread = Thread(target=working, name=name)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if errors:
        raise errors[0]
