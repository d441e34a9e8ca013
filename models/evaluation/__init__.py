"""The quality of a head on labelled texts, read as a stream."""

from models.evaluation.evaluating import evaluate, evaluate_csv
from models.evaluation.predicting import Prediction, predictions
from models.evaluation.reading import EvaluationError, LabelledText
from models.evaluation.results import (
    ClassFigures,
    Comparison,
    Difference,
    Evaluation,
    Figures,
    Interval,
    WorstError,
)
from models.evaluation.summarising import summarise

__all__ = [
    "ClassFigures",
    "Comparison",
    "Difference",
    "Evaluation",
    "EvaluationError",
    "Figures",
    "Interval",
    "LabelledText",
    "Prediction",
    "WorstError",
    "evaluate",
    "evaluate_csv",
    "predictions",
    "summarise",
]
