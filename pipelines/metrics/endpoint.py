"""The page that Prometheus scrapes: the figures of all processes of a job on this machine.

Each process keeps its figures in memory-mapped files of its own, in one folder; the page adds them
up. A worker that is killed with -9 leaves its files, so no count is lost or falls back, and the
process that serves the page may die and come back as well.
"""

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, start_http_server, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from models.drift import Observed, Reference, compare
from models.drift import metrics as drift_metrics
from models.tags import HEADS
from pipelines.metrics.instruments import FOLDER_VARIABLE, metrics
from pipelines.metrics.settings import MetricsSettings

DRIFT_SECONDS = 3600
"""The drift on the page is that of the texts tagged within the last hour by the clock."""

_BETWEEN_LOOKS = 30.0


class EndpointError(Exception):
    """The page cannot be served; the text is one sentence."""


@contextmanager
def endpoint(settings: MetricsSettings) -> Iterator[str | None]:
    """Serves the page while the block lasts; gives its address, None where no port is set.

    This process, and all that it starts from now on, write into the folder: start a job's processes
    inside the block, and one job for each folder. What dead processes have left there is removed.
    Raises `EndpointError` where the port is taken or the folder cannot be written.
    """
    if settings.port is None:
        yield None
        return
    folder = settings.folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in filter(_left_behind, folder.glob("*.db")):
            left.unlink()
    except OSError as error:
        raise EndpointError(f"the metrics folder {folder} cannot be used: {error}") from error
    with _writing_into(folder):
        registry = CollectorRegistry()
        registry.register(Everyone(folder))
        try:
            server, thread = start_http_server(settings.port, settings.address, registry)
        except OSError as error:
            where = f"{settings.address}:{settings.port}"
            raise EndpointError(
                f"metrics cannot be served on {where} ({error}): set another [metrics] port"
            ) from error
        try:
            yield f"http://{settings.address}:{server.server_port}/metrics"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _left_behind(path: Path) -> bool:
    """Whether nobody writes there any more: the job's workers outlive who serves their page."""
    process = path.stem.rpartition("_")[2]
    return process == str(os.getpid()) or not Path("/proc", process).exists()


@contextmanager
def _writing_into(folder: Path) -> Iterator[None]:
    """This process and its children write into `folder`, whether or not they have begun to count.

    prometheus_client decides where figures are kept when it is imported; this decides again.
    """
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(folder)
    _decide_again()
    try:
        yield
    finally:
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before
        _decide_again()


def _decide_again() -> None:
    values.ValueClass = values.get_value_class()
    metrics.cache_clear()


class Everyone(Collector):
    """The figures in a folder, added up, and the drift of the model that they show."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = MultiProcessCollector(None, str(folder))
        self._earlier: deque[tuple[float, dict[str, Observed]]] = deque()

    def collect(self) -> Iterable[Metric]:
        # A process that is killed as it makes a file leaves it empty.
        files = [str(path) for path in self._folder.glob("*.db") if path.stat().st_size]
        found = {metric.name: metric for metric in self._files.merge(files)}
        yield from found.values()
        yield from self._drift(found, time.monotonic())

    def _drift(self, found: Mapping[str, Metric], now: float) -> Iterable[Metric]:
        seen = {head: _observed(head, found) for head in HEADS}
        while len(self._earlier) > 1 and now - self._earlier[1][0] >= DRIFT_SECONDS:
            self._earlier.popleft()
        before = self._earlier[0][1] if self._earlier else {}
        if not self._earlier or now - self._earlier[-1][0] >= _BETWEEN_LOOKS:
            self._earlier.append((now, seen if self._earlier else {}))
        lines: dict[str, float] = {}
        for head, total in seen.items():
            normal = _reference(head, found)
            recent = _without(total, before[head]) if head in before else total
            drift = compare(recent, normal) if normal else None
            lines |= drift_metrics(drift) if drift else {}
        # As text and back: that is the form in which `models` gives them, knowing no client.
        text = "".join(f"{series} {value}\n" for series, value in lines.items())
        for metric in text_string_to_metric_families(text):
            yield _gauge(metric)


def _observed(head: str, found: Mapping[str, Metric]) -> Observed:
    counts = _by_label(found, "foreshock_predictions", head)
    confidence = _by_label(found, "foreshock_prediction_confidence", head).get("", 0.0)
    abstained = _by_label(found, "foreshock_abstentions", head).get("")
    return Observed(
        head,
        tuple(round(counts.get(label, 0.0)) for label in HEADS[head]),
        round(confidence * 1e6),
        None if abstained is None else round(abstained),
    )


def _reference(head: str, found: Mapping[str, Metric]) -> Reference | None:
    """What the workers say is normal for the model that they loaded."""
    shares = _by_label(found, "foreshock_expected_label_share_ratio", head)
    if not shares:
        return None
    return Reference(
        head,
        tuple(shares.get(label, 0.0) for label in HEADS[head]),
        _by_label(found, "foreshock_expected_confidence_ratio", head).get(""),
        _by_label(found, "foreshock_expected_abstention_ratio", head).get(""),
    )


def _by_label(found: Mapping[str, Metric], name: str, head: str) -> dict[str, float]:
    """Label ("" where the series has none) -> value, of one head."""
    if name not in found:
        return {}
    return {
        sample.labels.get("label", ""): sample.value
        for sample in found[name].samples
        if sample.labels["head"] == head
    }


def _without(total: Observed, earlier: Observed) -> Observed:
    """The texts since `earlier`."""
    return Observed(
        total.head,
        tuple(max(0, a - b) for a, b in zip(total.counts, earlier.counts, strict=True)),
        max(0, (total.confidence or 0) - (earlier.confidence or 0)),
        None if total.abstained is None else max(0, total.abstained - (earlier.abstained or 0)),
    )


def _gauge(metric: Metric) -> Metric:
    gauge = Metric(metric.name, "Drift of the last hour; see models.drift.", "gauge")
    gauge.samples = metric.samples
    return gauge
