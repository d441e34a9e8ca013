"""A graph handed to Flink through Beam's job server, and what its checkpoints hold the state of."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc  # type: ignore[import-untyped]
import msgspec
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_runner_api_pb2 as runner_api
from apache_beam.runners.portability.job_server import ExternalJobServer
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.transforms.environments import ExternalEnvironment

from pipelines.live.flink import FlinkError
from pipelines.live.settings import LiveSettings

Build = Callable[[beam.Pipeline], None]

_JOB_SERVER_SECONDS = 60
_ARRIVAL_SECONDS = 180.0
_POLL_SECONDS = 0.1
_HOUR = 3_600_000
_FOR_EVER = 2**31 - 1
_SECOND = 1000
_LONGEST_REASON = 400

_MAX_PARALLELISM = 128
"""Into so many parts keyed state is divided for good; a checkpoint with another number is lost."""

_FAILED = frozenset({api.JobState.FAILED, api.JobState.CANCELLED})


class GraphIdentity(msgspec.Struct, frozen=True):
    """What a checkpoint holds the state of. `version`: what the caller says besides, such as the
    hash of the configuration; `steps`: each step with the state that it keeps."""

    version: str
    steps: tuple[str, ...]

    def difference(self, other: "GraphIdentity") -> str | None:
        """What sets this graph apart from the `other` one, in a few words; None where they fit."""
        if more := [step for step in self.steps if step not in other.steps]:
            return f"it has the step {more[0]!r}"
        if less := [step for step in other.steps if step not in self.steps]:
            return f"it lacks the step {less[0]!r}"
        if self.version != other.version:
            return f"it was made by {self.version!r}, and this is {other.version!r}"
        return None


class Submission:
    """A graph ready to be handed over."""

    def __init__(self, build: Build, settings: LiveSettings, *, name: str, version: str) -> None:
        """Builds the graph, with whatever `build` raises. `name`: of the job, in Flink's lists."""
        options = PipelineOptions([])
        options.view_as(StandardOptions).streaming = True
        pipeline = beam.Pipeline(options=options)
        build(pipeline)
        self.name = name
        self._settings = settings
        self._proto = pipeline.to_runner_api(
            default_environment=ExternalEnvironment(settings.workers)
        )
        self.identity = GraphIdentity(version, tuple(sorted(_steps(self._proto))))

    def submit(self, checkpoints: Path, restore: Path | None, arrived: Callable[[], bool]) -> None:
        """Hands it over, and returns when it has `arrived`; raises FlinkError where it does not.

        Checkpoints go below `checkpoints`; the state is that of `restore`, None for a new job.
        """
        try:
            self._submit(checkpoints, restore, arrived)
        except grpc.FutureTimeoutError as error:
            raise self._unreachable("it does not answer") from error
        except grpc.RpcError as error:
            said = error.details() if isinstance(error, grpc.Call) else error
            raise self._unreachable(str(said)) from error

    def _submit(self, checkpoints: Path, restore: Path | None, arrived: Callable[[], bool]) -> None:
        service = ExternalJobServer(self._settings.job_server, _JOB_SERVER_SECONDS).start()
        handle = _Handle(service, _options(self._settings, self.name, checkpoints, restore))
        job, messages, _ = handle.submit(self._proto)
        deadline = time.monotonic() + _ARRIVAL_SECONDS
        while not arrived():
            # It calls a job running while it is still handing it on.
            if service.GetState(api.GetJobStateRequest(job_id=job)).state in _FAILED:
                raise FlinkError(f"Flink refuses the job: {_last_error(messages)}")
            if time.monotonic() > deadline:
                raise FlinkError(
                    f"Flink does not have the job after {_ARRIVAL_SECONDS:g} s: is the job server "
                    f"at {self._settings.job_server} that of Flink at {self._settings.flink}?"
                )
            time.sleep(_POLL_SECONDS)

    def _unreachable(self, reason: str) -> FlinkError:
        return FlinkError(
            f"Beam's job server cannot be used at {self._settings.job_server} "
            f"({reason[:_LONGEST_REASON]}): start it, or give its address."
        )


class _Handle(JobServiceHandle):
    """Hands options over as they are: the command line that Beam would make of them knows neither
    false nor a list, and complains of every option of Flink's."""

    def __init__(self, service: Any, plain: dict[str, Any]) -> None:
        options = PipelineOptions([], job_server_timeout=_JOB_SERVER_SECONDS)
        super().__init__(service, options)  # type: ignore[no-untyped-call]
        self._plain = plain

    def get_pipeline_options(self) -> Any:
        return self.encode_pipeline_options(self._plain)


def _options(
    settings: LiveSettings, name: str, checkpoints: Path, restore: Path | None
) -> dict[str, Any]:
    every = round(settings.checkpoint_seconds * _SECOND)
    return {
        "job_name": name,
        "streaming": True,
        "parallelism": settings.parallelism,
        "max_parallelism": _MAX_PARALLELISM,
        "max_bundle_size": settings.bundle_messages,
        "max_bundle_time_mills": settings.bundle_milliseconds,
        "checkpointing_interval": every,
        "min_pause_between_checkpoints": every // 2,
        "checkpointing_mode": "EXACTLY_ONCE",
        "state_backend": "filesystem",
        "state_backend_storage_path": checkpoints.resolve().as_uri(),
        "externalized_checkpoints_enabled": True,
        "retain_externalized_checkpoints_on_cancellation": True,
        # What a step gave would else be kept back with the checkpoint, while the watermark passes
        # it: after a restore its messages come when their windows and their state are gone.
        "finish_bundle_before_checkpointing": True,
        # A store that is away holds checkpoints back for as long as it is away.
        "checkpoint_timeout_millis": _HOUR,
        "fail_on_checkpointing_errors": False,
        "number_of_execution_retries": _FOR_EVER,
        "execution_retry_delay": _SECOND,
        **({} if restore is None else {"savepoint_path": restore.resolve().as_uri()}),
    }


def _steps(proto: Any) -> Iterator[str]:
    """Each step that does something itself, with its kind and the state and timers that it has."""
    for transform in proto.components.transforms.values():
        if transform.subtransforms:
            continue
        kind = transform.spec.urn.rpartition(":transform:")[2]
        yield f"{transform.unique_name} ({', '.join((kind, *_kept(transform, proto.components)))})"


def _kept(transform: Any, components: Any) -> Iterator[str]:
    if not transform.spec.urn.endswith(":transform:pardo:v1"):
        return
    step = runner_api.ParDoPayload.FromString(transform.spec.payload)
    for name, spec in sorted(step.state_specs.items()):
        yield f"{name}: {spec.WhichOneof('spec')}"
    yield from (f"{name}: timer" for name in sorted(step.timer_family_specs))
    if step.restriction_coder_id:
        yield f"restriction: {components.coders[step.restriction_coder_id].spec.urn}"


def _last_error(messages: Any) -> str:
    """What went wrong, in the job server's last words; they end when the job has."""
    errors = [
        message.message_response.message_text
        for message in messages
        if message.message_response.importance == api.JobMessage.JOB_MESSAGE_ERROR
    ]
    return " ".join(errors[-1].split())[:_LONGEST_REASON] if errors else "it gives no reason"
