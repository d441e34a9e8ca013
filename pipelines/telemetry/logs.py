"""The one place where logs are set up: what anybody logs by `logging`, we or a library, goes the
same way to standard error.

What must not be in a log is taken out here, whoever logged it: secrets, texts of messages, and what
would drive a terminal. An error that is not one of ours is told by its kind and place alone, for
its words may hold the row that was being written.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from alerting.inert import one_line, visible
from pipelines.telemetry.settings import LogSettings

FORMAT, LEVEL = "FORESHOCK_LOGS__FORMAT", "FORESHOCK_LOGS__LEVEL"
"""By these a process that another one has started logs as that one does."""

HIDDEN = "[hidden]"

OURS = ("alerting", "connectors", "infra", "models", "pipelines")

_SECRET = re.compile(
    r"passw|secret|token|credential|authorization|cookie|api_?key|author_key", re.I
)
_TEXTS = frozenset({"text", "texts", "title", "headline", "body", "payload", "record"})
_USER_OF_URL = re.compile(r"\b(?!postgresql://[^\s/:@]*@)(\w+://)[^\s/@]+@")  # a token may be one
_ASSIGNED = re.compile(
    rf"((?:{_SECRET.pattern})\w{{0,20}}['\"]?\s*[=:]\s*)(?:(?:Bearer|Basic)\s+)?\S+", re.I
)
_ROW = re.compile(r"\bDETAIL:.*", re.S)
"""What PostgreSQL says of the row that it refuses."""

_SHORTEST_SECRET = 6
_LONGEST, _MOST = 2_000, 20_000
"""Characters of an entry, and of a trace within one."""

_TRACE = "Traceback (most recent call last):"
_KIND = re.compile(r"(?:[a-z_]\w*(?:\.\w+)+|\w+(?:Error|Exception|Exit|Interrupt))(?=:|$)")


def configure(settings: LogSettings) -> None:
    """This process logs so, and all that it starts from now on. Libraries only warn."""
    os.environ[FORMAT], os.environ[LEVEL] = settings.format, settings.level
    handler = _StandardError()
    handler.setFormatter(_formatter(settings))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in OURS:
        logging.getLogger(package).setLevel(settings.level.upper())


def configure_as_started() -> None:
    """This process logs as the one that has started it."""
    # Not by the configuration: a pool of workers is small, and that is heavy to import.
    given = {"format": os.environ.get(FORMAT), "level": os.environ.get(LEVEL)}
    known = {name: value for name, value in given.items() if value}
    configure(msgspec.convert(known, LogSettings))


class _StandardError(logging.StreamHandler[TextIO]):
    """Whatever it is at the moment: a line that moves at the terminal takes its place meanwhile."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _formatter(settings: LogSettings) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.ExtraAdder(),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _name_the_process,
            _tell_exceptions,
            _Guard(),
            structlog.processors.JSONRenderer()
            if settings.format == "json"
            else structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
    )


def _name_the_process(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    entry["process"] = os.getpid()
    if part := os.environ.get("FORESHOCK_PART"):
        entry["part"] = part
    return entry


def _tell_exceptions(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    found = entry.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        chain = _chain(error)
        entry["exception"] = "\nwhich led to:\n".join(map(_told, chain))
        for one in chain:
            if not _ours(one) and str(one):
                entry["event"] = str(entry["event"]).replace(str(one), type(one).__qualname__)
    return entry


def _chain(error: BaseException) -> list[BaseException]:
    """An error behind what led to it."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [error] if before is None else [*_chain(before), error]


def _told(error: BaseException) -> str:
    """Kind and place, and the words of one that is ours."""
    places = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    kind = type(error).__qualname__
    return f"{_TRACE}\n{places}\n{f'{kind}: {error}' if _ours(error) else kind}"


def _ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in OURS


class _Guard:
    """Takes out of an entry what nobody may read there."""

    def __init__(self) -> None:
        values = (value for name, value in os.environ.items() if _SECRET.search(name))
        self._secrets = [value for value in values if len(value) >= _SHORTEST_SECRET]

    def __call__(self, _logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
        return {name: self._guarded(name, value) for name, value in entry.items()}

    def _guarded(self, name: str, value: Any) -> Any:
        if name in _TEXTS or _SECRET.search(name):
            return HIDDEN
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, list):
            return [self._guarded(name, one) for one in value]
        text = self._without_secrets(str(value)[:_MOST])
        if name == "exception":
            return visible(text)
        if _TRACE in text:
            return visible("\n".join(_without_words(text)))
        return one_line(text, _LONGEST)

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = _ROW.sub(f"DETAIL: {HIDDEN}", text)
        return _ASSIGNED.sub(rf"\1{HIDDEN}", _USER_OF_URL.sub(rf"\1{HIDDEN}@", text))


def _without_words(text: str) -> Iterator[str]:
    """Of a trace within a text, as Beam logs it: the places, and the kinds of the errors."""
    lines = iter(text.splitlines())
    for line in lines:
        yield line
        if line.endswith(_TRACE):
            break
    for line in lines:
        if line.startswith("  File ") or line == _TRACE:
            yield line
        elif kind := _KIND.match(line):
            yield kind[0]
