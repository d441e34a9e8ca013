"""Behaviour tests after CheckList (Ribeiro et al. 2020): what a model must do, in groups of cases.

`python -m models.behaviour [--model FOLDER]` prints how many of each group a model passes.
"""

from models.behaviour.cases import Case, Group, load_groups
from models.behaviour.rates import Failure, PassRate, pass_rates

__all__ = ["Case", "Failure", "Group", "PassRate", "load_groups", "pass_rates"]
