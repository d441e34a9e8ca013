"""Search for better numbers: Optuna over the main settings, judged on the select split."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import optuna
import torch

from models.training.course import Course, mean_score
from models.training.material import prepare
from models.training.network import pretrained
from models.training.recipe import base_folder, base_tokenizer
from models.training.recipes import Plan, changed, recipe_plan, write_plan

Suggestion = Callable[[optuna.Trial, str], Any]

SPACE: dict[str, Suggestion] = {
    "tuning.rate": lambda trial, name: trial.suggest_float(name, 5e-5, 6e-4, log=True),
    "tuning.layer_decay": lambda trial, name: trial.suggest_float(name, 0.75, 1.0),
    "tuning.batch": lambda trial, name: trial.suggest_categorical(name, [16, 32, 64]),
    "tuning.label_smoothing": lambda trial, name: trial.suggest_float(name, 0.0, 0.15),
    "tuning.token_masking": lambda trial, name: trial.suggest_float(name, 0.0, 0.1),
    "tuning.consistency": lambda trial, name: trial.suggest_categorical(name, [0.0, 0.5, 1.0]),
    "tuning.weight_decay": lambda trial, name: trial.suggest_float(name, 1e-3, 0.1, log=True),
}
"""What is searched: entries of the plan. Each trial tunes one network after the same beginning."""


def search(recipe: str, data: Path, out: Path, trials: int, plan: Plan | None = None) -> Path:
    """Tries `trials` settings and writes the recipe with the best into `out/RECIPE.toml`.

    Trials are kept in `out/search.db`: a search that was stopped goes on, and more trials add to
    those before. The stage before tuning runs once for all of them.
    """
    whole = plan or recipe_plan(recipe)
    plan = msgspec.structs.replace(whole, teachers=1, distilling=None, ablation=False)
    tokenizer = base_tokenizer(plan.encoder)
    material = prepare(recipe, data, plan.seed)
    out.mkdir(parents=True, exist_ok=True)

    def reached(trial: optuna.Trial) -> float:
        tried = _changed(plan, {name: suggest(trial, name) for name, suggest in SPACE.items()})
        torch.manual_seed(plan.seed)
        network = pretrained(base_folder(), plan.encoder)
        course = Course(network, material, tokenizer, tried, out / "work")
        course.run()
        return mean_score(course.ablation[-1].accuracies)

    study = optuna.create_study(
        study_name=recipe,
        storage=f"sqlite:///{out / 'search.db'}",
        sampler=optuna.samplers.TPESampler(seed=plan.seed),
        direction="maximize",
        load_if_exists=True,
    )
    done = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
    study.optimize(reached, n_trials=max(0, trials - done))
    best = out / f"{recipe}.toml"
    write_plan(_changed(whole, study.best_params), best)
    return best


def _changed(plan: Plan, values: dict[str, Any]) -> Plan:
    for name, value in values.items():
        plan = changed(plan, name, value)
    return plan
