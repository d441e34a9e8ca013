"""The pool that starts a Python worker wherever a TaskManager of Flink asks for one.

    python -m pipelines.live.workers --port 50000

One pool a machine. Beam's own pool starts whatever `python` stands first in PATH, never reads what
a worker prints, and leaves a worker running on when its TaskManager was killed. A worker of this
one is the interpreter that runs the pool, and ends at once when its TaskManager, its pool or its
job does, so that no two workers write for the same part of a job.
"""

import argparse
import logging
import os
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from apache_beam.portability.api import beam_fn_api_pb2 as messages
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services

from pipelines.telemetry.logs import configure_as_started
from pipelines.telemetry.traces import flush

_STATE_CACHE_BYTES = 0
"""Steps hold their state themselves (`memory`), and to weigh a value for the cache, Beam goes
through all modules each time."""

_REQUESTS_AT_ONCE = 8
_PARENT_SECONDS = 0.5

_log = logging.getLogger(__name__)


class WorkerPool(services.BeamFnExternalWorkerPoolServicer):
    """Starts and ends workers as Flink asks; each is a process of its own."""

    def __init__(self) -> None:
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    def StartWorker(self, request: Any, context: Any) -> Any:
        command = [sys.executable, "-m", __spec__.name, "--worker", request.worker_id]
        try:
            self._workers[request.worker_id] = subprocess.Popen(  # noqa: S603
                [*command, "--control", request.control_endpoint.url],
                stdout=sys.stderr,
                env={**os.environ, "FORESHOCK_PART": "worker"},  # told from the pool by it
            )
        except OSError:
            return messages.StartWorkerResponse(error=traceback.format_exc())
        _log.info("Worker %s started", request.worker_id)
        return messages.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:
        # At once: a worker that waits for the store would go on writing beside its successor.
        if worker := self._workers.pop(request.worker_id, None):
            worker.kill()
            worker.wait()
            _log.info("Worker %s stopped", request.worker_id)
        return messages.StopWorkerResponse()


def serve(port: int) -> None:
    """Runs the pool until it is ended."""
    server = grpc.server(ThreadPoolExecutor(_REQUESTS_AT_ONCE))
    services.add_BeamFnExternalWorkerPoolServicer_to_server(WorkerPool(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    _log.info("Starting workers for those who ask at port %d", port)
    server.wait_for_termination()


def _page(port: int | None) -> AbstractContextManager[str | None]:
    if port is None:
        return nullcontext()
    # Heavy to import, and of no use to a pool whose job serves the page.
    from pipelines.configuration import load_configuration
    from pipelines.metrics.endpoint import endpoint

    config = os.environ.get("FORESHOCK_CONFIG")
    return endpoint(load_configuration(Path(config) if config else None).metrics.own(port))


def work(worker_id: str, control: str) -> None:
    """Works for one TaskManager until it is gone; does not return."""
    from apache_beam.runners.worker.sdk_worker import SdkHarness

    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        SdkHarness(control, worker_id=worker_id, state_cache_size=_STATE_CACHE_BYTES).run()
    except grpc.RpcError as error:
        _log.warning("Worker %s ends: its TaskManager is gone (%s)", worker_id, error.code())
    finally:
        flush()
        # Without waiting for threads that still work on what nobody awaits any more.
        os._exit(0)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(0)


def parser() -> argparse.ArgumentParser:
    """Of the command line above."""
    found = argparse.ArgumentParser(
        prog="python -m pipelines.live.workers", description=(__doc__ or "").partition("\n")[0]
    )
    found.add_argument("--port", type=int, help="where to listen for TaskManagers")
    found.add_argument(
        "--metrics-port", type=int, help="serve a page for Prometheus, of these workers alone"
    )
    found.add_argument("--worker", help=argparse.SUPPRESS)
    found.add_argument("--control", help=argparse.SUPPRESS)
    return found


def main() -> None:
    given = parser().parse_args()
    configure_as_started()
    if given.worker:
        work(given.worker, given.control)
    elif given.port:
        with _page(given.metrics_port):
            serve(given.port)
    else:
        parser().error("--port is missing")


if __name__ == "__main__":
    main()
