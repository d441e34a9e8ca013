"""What a training does, in numbers: read from a recipe's TOML file and checked."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, field

from models.artifact import Architecture
from models.training.corpora import TrainingDataError

FOLDER = Path(__file__).parent / "recipes"

Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Rate = Annotated[float, Meta(gt=0, le=0.1)]
Weight = Annotated[float, Meta(ge=0)]


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pace of one stage of training.

    `rate`: the highest learning rate, which each layer below multiplies by `layer_decay`;
    `warm_up`: share of the steps in which it rises; `averaging`: how much of the averaged weights
    (EMA) a step keeps; `patience`: epochs without gain on the select split after which it ends;
    `steps_per_epoch` cuts an epoch short.
    """

    epochs: Count
    rate: Rate
    batch: Count = 64
    layer_decay: Share = 0.9
    warm_up: Share = 0.08
    weight_decay: Weight = 0.01
    averaging: Share = 0.998
    patience: Count = 3
    steps_per_epoch: Count | None = None


class Masking(Stage, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Masked-language training: `hidden` is the share of words to be guessed.

    Beside the texts of the labelled sets, `unlabelled` others take part.
    """

    unlabelled: Annotated[int, Meta(ge=0)] = 1_000_000
    hidden: Share = 0.15


class Tuning(Stage, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Training on labels.

    `consistency`: weight of R-Drop, which doubles the work, 0 for none; `mixing`: by source of
    labels the share of its examples that an epoch draws, 1 where it is not named.
    """

    label_smoothing: Share = 0.05
    token_masking: Share = 0.04
    consistency: Weight = 0.0
    mixing: dict[str, Share] = field(default_factory=dict)


class Distilling(Tuning, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Training on what the teachers say.

    `unlabelled`: as many texts without labels take part; `soft`: how much the teachers count beside
    the labels; `temperature` divides the logits of both before they are compared (Hinton 2015).
    """

    unlabelled: Annotated[int, Meta(ge=0)] = 20_000
    soft: Share = 0.7
    temperature: Annotated[float, Meta(gt=0)] = 1.5


class Rounding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tolerated_loss`: accuracy that int8 may cost on select before `tuning` goes on in int8."""

    tuning: Tuning
    tolerated_loss: Share = 0.003


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole training. Without `masking` or `distilling` that stage is left out.

    `teachers`: networks that are tuned from one beginning; `ablation`: also tune one without the
    stages before, to know what they bring.
    """

    tuning: Tuning
    rounding: Rounding
    encoder: Architecture = field(default_factory=lambda: Architecture(vocabulary=30_524))
    masking: Masking | None = None
    distilling: Distilling | None = None
    teachers: Count = 1
    ablation: bool = False
    seed: int = 20


def recipe_plan(recipe: str) -> Plan:
    """The plan that ships for a recipe; "small" is one that shows that training runs."""
    return read_plan(FOLDER / f"{recipe}.toml")


def read_plan(path: Path) -> Plan:
    """The plan in a TOML file; raises `TrainingDataError` naming the entry that does not fit."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise TrainingDataError(f"{path} cannot be read ({error.strerror}).") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"The recipe {path} does not fit: {error}.") from error


def write_plan(plan: Plan, path: Path) -> None:
    """Writes a plan as a TOML file that `read_plan` reads."""
    path.write_bytes(msgspec.toml.encode(_without_none(msgspec.to_builtins(plan))))


def _without_none(value: Any) -> Any:
    """TOML has no word for what is not set."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value


S = TypeVar("S", bound=msgspec.Struct)


def changed(plan: S, path: str, value: object) -> S:
    """`plan` with the entry at a dotted `path` ("tuning.rate") set, and checked."""
    entry, _, rest = path.partition(".")
    if rest:
        value = changed(getattr(plan, entry), rest, value)
    return msgspec.convert(
        msgspec.to_builtins(msgspec.structs.replace(plan, **{entry: value})), type=type(plan)
    )
