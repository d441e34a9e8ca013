"""The report: one self-contained HTML file on what was watched, for analysts and compliance."""

from pipelines.report.page import write_report

__all__ = ["write_report"]
