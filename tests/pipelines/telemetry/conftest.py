"""Logs as they come out, and the process as it was afterwards."""

import logging
import os
from collections.abc import Iterator

import pytest

from pipelines.telemetry.logs import FORMAT, LEVEL, OURS


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    for name in OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name in (FORMAT, LEVEL):
        os.environ.pop(name, None)
