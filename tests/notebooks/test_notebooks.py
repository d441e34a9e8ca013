"""The notebooks run from top to bottom, and show what they say."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from pipelines.configuration import Configuration
from pipelines.replay import replay
from pipelines.sources import File

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture
def outputs(surge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the code cells of the first look show, of a history with a surge."""
    database = f"sqlite:///{tmp_path}/surge.db"
    replay([File(surge)], database=database, configuration=Configuration())
    monkeypatch.setenv("FORESHOCK_DATABASE", database)
    notebook = nbformat.read(NOTEBOOKS / "first_look.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS)}}
    ).execute()
    return [
        output["data"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]


def test_the_first_look_finds_the_surge_and_its_messages(outputs: list[dict[str, Any]]) -> None:
    figures = [shown for shown in outputs if "application/vnd.plotly.v1+json" in shown]
    tables = [
        shown["text/html"]
        for shown in outputs
        if "text/html" in shown and "<table" in shown["text/html"]
    ]
    assert len(figures) == 3
    found, messages = tables
    assert "entity:BA" in found
    assert "negative_surge" in found
    assert "Boeing" in messages


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_kept_without_what_it_showed(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells)
