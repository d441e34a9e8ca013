"""Where the live job runs, and how. Changes no row."""

from pathlib import Path

import msgspec


class LiveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`flink`: the JobManager's REST address. `job_server`: Beam's. `workers`: the worker pool, as
    each TaskManager reaches it. `folder`: where checkpoints and savepoints go; JobManager,
    TaskManagers and whoever watches over the job see it under the same path. `parallelism`: tasks
    of one step side by side. `checkpoint_seconds`: what a crash costs at most, again.
    `bundle_messages`, `bundle_milliseconds`: how many messages, and how long, are put together."""

    flink: str = "http://localhost:8081"
    job_server: str = "localhost:8099"
    workers: str = "localhost:50000"
    folder: Path = Path(".foreshock") / "live"
    parallelism: int = 1
    checkpoint_seconds: float = 10.0
    bundle_messages: int = 500
    bundle_milliseconds: int = 20
