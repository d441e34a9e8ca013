"""One console for all tests of pages and API, over a store with hostile texts."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.pipelines.console.visiting import Visitor, fill, serving
from tests.pipelines.test_report_page import ADDRESSES, HOSTILE


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that the tests share: each decides on what it needs, none counts on a clean one."""
    url = f"sqlite:///{tmp_path_factory.mktemp('console')}/console.db"
    fill(url, *HOSTILE, urls=ADDRESSES)
    return url


@pytest.fixture(scope="session")
def url(database: str) -> Iterator[str]:
    """Where the console answers."""
    with serving(database, FORESHOCK_CONSOLE__REQUESTS_A_MINUTE="100000") as address:
        yield address


@pytest.fixture(scope="session")
def visitor(url: str) -> Callable[[str], Visitor]:
    """Somebody who is logged in, and stays so: whoever logs out or in anew visits by himself."""
    return cache(lambda name: Visitor(url, name))
