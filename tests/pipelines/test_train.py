"""`foreshock train` up to the training itself: plans, and corrections with their texts."""

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra 'train'")

from models.training import recipe
from pipelines.command.main import run

HISTORY = """id,created_at,ticker,text
1,2014-01-20T10:00:00Z,PFE,$PFE Pfizer cuts its outlook after a weak quarter
2,2014-01-20T10:01:00Z,AAPL,$AAPL Apple beats estimates and raises its dividend
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """What `train` was asked for."""
    calls: list[tuple[Any, ...]] = []

    def train(*arguments: Any) -> Path:
        calls.append(arguments)
        return tmp_path / "artifact"

    monkeypatch.setattr(recipe, "train", train)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "history.csv").write_text(HISTORY)
    (tmp_path / "wrong.csv").write_text("message_id,label\nhistory:1,positive\nhistory:9,neutral\n")
    return calls


def test_corrections_take_their_texts_from_a_file(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Any, ...]], capsys: Any
) -> None:
    _foreshock(monkeypatch, "--corrections", "wrong.csv", "--messages", "history.csv")
    (example,) = asked[0][4]
    assert (example.text, example.sentiment) == (
        "$PFE Pfizer cuts its outlook after a weak quarter",
        2,
    )
    assert "Not found, so not learned: history:9." in capsys.readouterr().err


def test_corrections_take_their_texts_from_a_store(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Any, ...]], capsys: Any
) -> None:
    _run(monkeypatch, "replay", "history.csv", "--database", "sqlite:///a.db")
    _foreshock(monkeypatch, "--corrections", "wrong.csv", "--database", "sqlite:///a.db")
    (example,) = asked[0][4]
    assert example.text == "$PFE Pfizer cuts its outlook after a weak quarter"
    assert "history:9" in capsys.readouterr().err


def test_corrections_without_texts_are_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Any, ...]], capsys: Any
) -> None:
    assert _foreshock(monkeypatch, "--corrections", "wrong.csv") == 2
    assert "--messages FILE or" in " ".join(capsys.readouterr().err.split())
    assert not asked


def test_the_plan_is_the_recipes_own_unless_said(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        "[tuning]\nepochs = 9\nrate = 0.001\n[rounding.tuning]\nepochs = 1\nrate = 0.001\n"
    )
    _foreshock(monkeypatch)
    _foreshock(monkeypatch, "--small")
    _foreshock(monkeypatch, "--plan", own)
    usual, small, chosen = (call[3] for call in asked)
    assert usual.teachers > small.teachers == 1
    assert chosen.tuning.epochs == 9


def _foreshock(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    return _run(monkeypatch, "train", "--data", "data", "--out", "out", *arguments)


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["foreshock", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        run()
    return int(ended.value.code or 0)
