"""The evaluation as a page: one self-contained HTML file, for whoever must trust the model."""

from pipelines.evaluation_page.page import write_evaluation

__all__ = ["write_evaluation"]
