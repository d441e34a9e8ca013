"""The configuration of a run: one TOML file, every value overridable by an environment variable.

`FORESHOCK_NOVELTY__SIMILARITY=0.8` overrides `similarity` in `[novelty]`. pydantic-settings gathers
the values, msgspec checks them as a whole at the start: a name that is not known is an error.
"""

from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from alerting.channels.secrets import checked_name
from alerting.channels.settings import ChannelSettings, KafkaTopicSettings, WebhookSettings
from alerting.decisions import DecisionSettings
from alerting.delivery import DeliverySettings
from alerting.detectors.surge import SurgeSettings
from alerting.errors import AlertingError
from alerting.errors import ConfigurationError as SettingError
from alerting.heads import HeadSettings
from alerting.lifecycle import LifecycleSettings
from connectors.errors import ConnectorError
from connectors.kafka.settings import KafkaSettings
from connectors.lateness import LatenessSettings
from models.artifact import DEFAULT_ARTIFACT
from models.backends.choice import Device
from models.novelty import NoveltySettings
from models.tagger import Tagger, load_tagger
from models.tags import ModelIdentity
from pipelines.console.settings import ConsoleSettings
from pipelines.live.settings import LiveSettings
from pipelines.manifest import digest
from pipelines.metrics.settings import MetricsSettings
from pipelines.retention import RetentionSettings
from pipelines.telemetry.settings import LogSettings


class ConfigurationError(Exception):
    """A configuration that cannot be used; its text is one sentence."""


class TagSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`model`: folder of an artifact, or of a classifier in the Hugging Face layout.
    `sentiment_model`, `topic_model`: another folder for one head. A head that no folder serves
    comes from the artifact that ships. `device`: auto takes a GPU where PyTorch finds one, else the
    CPU. `threads`: None for all cores. `cache`: texts remembered. `batch`: messages handed to the
    model at a time; a GPU wants ten thousand and more. The last three change no tag."""

    model: Path = DEFAULT_ARTIFACT
    sentiment_model: Path | None = None
    topic_model: Path | None = None
    device: Device = "auto"
    threads: int | None = None
    cache: int = 50_000
    batch: int = 1024

    def serving(self, model: Path | None) -> "TagSettings":
        """These settings, with `model` for every head that it knows; None changes nothing."""
        if model is None:
            return self
        return msgspec.structs.replace(self, model=model, sentiment_model=None, topic_model=None)

    def tagger(self) -> Tagger:
        """The process's tagger for these models, loaded at the first call."""
        return load_tagger(
            self.model,
            sentiment_model=self.sentiment_model,
            topic_model=self.topic_model,
            device=self.device,
            threads=self.threads,
            cache_size=self.cache,
        )


class DeduplicateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many hours of event time an id is remembered."""

    horizon_hours: int = 24


class ReplaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a history is run at a time. Changes no result, only memory and how much of the
    work a kill costs."""

    slice_messages: int = 2_000
    slice_characters: int = 20_000_000


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sections of the file. `surge` is the detector, `alerts` the life of an alert,
    `decisions` what people may decide on it, `kafka` how the brokers are reached, `lateness` which
    messages of a topic come too late, `metrics` the page for Prometheus, `console` the web
    pages, `delivery` how often alerts are sent, `channels` where to, each by its name, `heads`
    where heads of the ledger go, `live` where the live job runs, `logs` what processes log,
    `retention` how long rows are kept."""

    tag: TagSettings = TagSettings()
    deduplicate: DeduplicateSettings = DeduplicateSettings()
    lateness: LatenessSettings = LatenessSettings()
    novelty: NoveltySettings = NoveltySettings()
    surge: SurgeSettings = SurgeSettings()
    alerts: LifecycleSettings = LifecycleSettings()
    replay: ReplaySettings = ReplaySettings()
    decisions: DecisionSettings = DecisionSettings()
    kafka: KafkaSettings = KafkaSettings()
    delivery: DeliverySettings = DeliverySettings()
    channels: dict[str, ChannelSettings] = {}
    heads: HeadSettings = HeadSettings()
    console: ConsoleSettings = ConsoleSettings()
    metrics: MetricsSettings = MetricsSettings()
    live: LiveSettings = LiveSettings()
    logs: LogSettings = LogSettings()
    retention: RetentionSettings = RetentionSettings()

    def __post_init__(self) -> None:
        for name in self.channels:
            checked_name(name)
        for name in self.heads.channels:
            if not isinstance(self.channels.get(name), WebhookSettings | KafkaTopicSettings):
                raise SettingError(
                    f"heads.channels names {name!r}: set up a channel of that name, of the kind "
                    "webhook or kafka"
                )

    def meaning(self) -> dict[str, Any]:
        """All settings that rows depend on, as plain values; how fast they come is left out."""
        sections: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        for name in (
            "decisions",
            "tag",
            "replay",
            "kafka",
            "delivery",
            "channels",
            "heads",
            "metrics",
            "live",
            "logs",
            "console",
            "retention",
        ):
            del sections[name]
        return sections

    def digest(self, model: ModelIdentity) -> str:
        """The configuration hash that stands on windows, spikes and alerts: rules and weights."""
        return digest({"settings": self.meaning(), "model": model.checksum})


class _Gathered(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="FORESHOCK_", env_nested_delimiter="__", extra="forbid"
    )

    tag: dict[str, Any] = {}
    deduplicate: dict[str, Any] = {}
    lateness: dict[str, Any] = {}
    novelty: dict[str, Any] = {}
    surge: dict[str, Any] = {}
    alerts: dict[str, Any] = {}
    replay: dict[str, Any] = {}
    decisions: dict[str, Any] = {}
    kafka: dict[str, Any] = {}
    delivery: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    heads: dict[str, Any] = {}
    console: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    live: dict[str, Any] = {}
    logs: dict[str, Any] = {}
    retention: dict[str, Any] = {}


def _path(_kind: type[Path], value: str) -> Path:
    return Path(value)


def load_configuration(path: Path | None = None) -> Configuration:
    """The defaults, changed by the TOML file at `path`, changed by the environment.

    Raises `ConfigurationError` for a file that cannot be read or a value that cannot be.
    """
    if path is not None and not path.is_file():
        raise ConfigurationError(f"The configuration {path} is not a file.")

    class Sourced(_Gathered):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return env_settings, TomlConfigSettingsSource(settings_cls, path)

    try:
        gathered = Sourced().model_dump()
        return msgspec.convert(gathered, Configuration, strict=False, dec_hook=_path)
    except (
        AlertingError,
        ConnectorError,
        SettingsError,
        ValueError,
    ) as error:  # msgspec's is a ValueError
        where = f"The configuration {path}" if path else "The configuration in the environment"
        raise ConfigurationError(f"{where} cannot be used: {_detail(error)}") from error


def _detail(error: Exception) -> str:
    """What is wrong; of what pydantic refuses without the value, which may be a secret."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    return "; ".join(
        f"there is no section [{one['loc'][0]}]"
        if one["type"] == "extra_forbidden"
        else f"[{one['loc'][0]}]: {one['msg']}"
        for one in error.errors()
    )
