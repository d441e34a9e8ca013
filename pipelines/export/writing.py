"""A dossier as a file: JSON Lines for machines, a page to read, the page printed."""

from pathlib import Path
from typing import Literal

from pipelines.export import page, pdf
from pipelines.export.dossier import Dossier, write_jsonl
from pipelines.report import document

Form = Literal["jsonl", "html", "pdf"]


def write(dossier: Dossier, form: Form, path: Path) -> None:
    """Writes it whole or not at all. Raises OSError, and `PdfError` where nothing can print."""
    match form:
        case "jsonl":
            with document.writing(path) as file:
                write_jsonl(dossier, file)
        case "html":
            document.write(path, page.render(dossier))
        case "pdf":
            pdf.write(path, page.render(dossier))
