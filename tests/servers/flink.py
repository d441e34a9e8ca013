"""A Flink cluster for a run of the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.flink.cluster import Cluster
from pipelines.live.settings import LiveSettings


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """One JobManager, one TaskManager of two slots, the job server and the worker pool."""
    cluster = Cluster(folder)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def settings_for(cluster: Cluster, folder: Path) -> LiveSettings:
    """A job on `cluster` that keeps its state in `folder`, with frequent checkpoints."""
    return LiveSettings(
        flink=cluster.rest,
        job_server=cluster.job_server_address,
        workers=cluster.workers_address,
        folder=folder,
        checkpoint_seconds=1,
    )
