"""The command as a user meets it: what it prints, its JSON, its exit codes, its errors."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from models.artifact import DEFAULT_ARTIFACT
from pipelines.command.main import run


class Answer:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def foreshock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Any:
    """Runs the command with arguments, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["foreshock", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    return call


HISTORY = """created_at,ticker,text
2014-01-20T10:00:00Z,PFE,$PFE Pfizer cuts its outlook after a weak quarter
2014-01-20T10:01:00Z,AAPL,$AAPL Apple beats estimates and raises its dividend
not a time,AAPL,$AAPL nothing
"""


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "history.csv"
    path.write_text(HISTORY, encoding="utf-8")
    return path


def test_replay_prints_its_reconciliation_and_writes_the_report(
    foreshock: Any, history: Path
) -> None:
    answer = foreshock("replay", history, "--database", "sqlite:///a.db", "--report", "a.html")
    assert answer.code == 0, answer.err
    assert "Read 3 = 2 stored + 0 duplicates + 1 dead letters" in " ".join(answer.out.split())
    assert Path("a.html").read_text(encoding="utf-8").startswith("<!")


def test_replay_speaks_json(foreshock: Any, history: Path) -> None:
    answer = foreshock("replay", history, "--database", "sqlite:///a.db", "--json")
    expected = {"read": 3, "stored": 2, "duplicates": 0, "dead_letters": 1, "late": 0}
    assert {name: answer.json[name] for name in expected} == expected
    again = foreshock("replay", history, "--database", "sqlite:///a.db", "--json").json
    assert again["already_complete"]
    assert again["read"] == 3


def test_dead_letters_are_listed_with_their_line_and_shown_with_their_bytes(
    foreshock: Any, history: Path
) -> None:
    foreshock("replay", history, "--database", "sqlite:///a.db")
    (letter,) = foreshock("dead-letters", "list", "--database", "sqlite:///a.db", "--json").json
    assert letter["line"] == 4
    shown = foreshock("dead-letters", "show", letter["id"][:8], "--database", "sqlite:///a.db")
    assert "not a time" in shown.out


def test_columns_of_other_names_are_mapped(foreshock: Any, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("wann,was\n2014-01-20T10:00:00Z,Oil falls\n", encoding="utf-8")
    mapped = ("--map", "published_at=wann", "--map", "text=was")
    answer = foreshock("replay", path, "--database", "sqlite:///a.db", *mapped, "--json")
    assert answer.json["stored"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("replay", "missing.jsonl"), 1, "missing.jsonl"),
        (("replay", "."), 1, "folder"),
        (("replay", "missing.jsonl", "--map", "nonsense"), 2, "nonsense"),
        (("replay", "x", "--database", "oracle://there"), 1, ""),
        (("alerts", "list", "--database", "sqlite:///missing.db"), 1, "no store"),
        (("evaluate", "missing.csv", "--head", "sentiment"), 1, "missing.csv"),
        (("evaluate", "missing.csv", "--head", "mood"), 2, "mood"),
        (("tag", "--model", "missing", "text"), 1, "missing"),
        (("tag", "--file", "missing.txt"), 1, "missing.txt"),
        (("detect", "missing.csv", "--output", "scores.csv"), 1, "missing.csv"),
        (("replay", "x", "--config", "missing.toml"), 2, "missing.toml"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_an_error_is_one_sentence_with_its_exit_code(
    foreshock: Any, arguments: tuple[str, ...], code: int, said: str
) -> None:
    answer = foreshock(*arguments)
    assert answer.code == code
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_tag_speaks_json(foreshock: Any) -> None:
    (result,) = foreshock("tag", "Profit falls and shares plunge", "--json").json
    assert result["sentiment"] == "negative"
    assert set(result["probabilities"]["sentiment"]) == {"negative", "neutral", "positive"}
    assert len(result["probabilities"]["topic"]) == 20
    assert abs(sum(result["probabilities"]["topic"].values()) - 1) < 1e-4


def test_evaluate_maps_the_labels_of_a_file(foreshock: Any, tmp_path: Path) -> None:
    path = tmp_path / "labelled.csv"
    path.write_text("t,l\nProfit falls sharply,0\nProfit rises sharply,1\n", encoding="utf-8")
    columns = ("--text-column", "t", "--label-column", "l")
    answer = foreshock(
        "evaluate", path, "--head", "sentiment", *columns,
        "--labels", "0=negative,1=positive,2=neutral", "--predictions", "p.csv", "--json",
    )  # fmt: skip
    assert {"n", "accuracy", "macro_f1", "per_class", "ece", "model"} <= set(answer.json)
    assert answer.json["n"] == 2
    with Path("p.csv").open(encoding="utf-8", newline="") as rows:
        assert len(list(csv.DictReader(rows))) == 2


def test_evaluate_slices_compares_and_writes_its_page(foreshock: Any, tmp_path: Path) -> None:
    path = tmp_path / "labelled.csv"
    path.write_text(
        "text,label,source\nProfit falls sharply,negative,a\nProfit rises sharply,neutral,[b]\n",
        encoding="utf-8",
    )
    options = ("--slice-column", "source", "--compare", DEFAULT_ARTIFACT, "--report", "e.html")
    answer = foreshock("evaluate", path, "--head", "sentiment", *options)
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())
    assert "2 texts: accuracy 0.5000" in said
    assert "source: [b]" in said
    assert "accuracy +0.0000 (+0.0000 to +0.0000), p 1" in said
    assert "Measured on: <bdi>labelled.csv" in Path("e.html").read_text(encoding="utf-8")
    figures = foreshock("evaluate", path, "--head", "sentiment", *options, "--json").json
    assert figures["comparison"]["mcnemar_p"] == 1
    assert figures["metrics"]['foreshock_drift_messages{head="sentiment"}'] == 2


def test_evaluate_says_where_its_page_cannot_be_written(foreshock: Any, tmp_path: Path) -> None:
    path = tmp_path / "labelled.csv"
    path.write_text("text,label\nProfit falls sharply,negative\n", encoding="utf-8")
    answer = foreshock("evaluate", path, "--head", "sentiment", "--report", "missing/e.html")
    assert answer.code == 1
    assert "missing/e.html cannot be written" in " ".join(answer.err.split())


def test_detect_writes_a_row_for_each_row_read(foreshock: Any, tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    rows = [f"2015-03-{1 + i // 288:02d} {i // 12 % 24:02d}:{i % 12 * 5:02d}:00,{20 + i % 5}"
            for i in range(288 * 3)]  # fmt: skip
    rows[-10] = rows[-10].rpartition(",")[0] + ",900"
    path.write_text("timestamp,value\n" + "\n".join(rows) + "\n", encoding="utf-8")
    assert foreshock("detect", path, "--output", "scores.csv").code == 0
    with Path("scores.csv").open(encoding="utf-8", newline="") as scores:
        scored = list(csv.DictReader(scores))
    assert list(scored[0]) == ["timestamp", "value", "expected", "score", "alert"]
    assert len(scored) == len(rows)
    assert all(0 <= float(row["score"]) <= 1 for row in scored)
    assert [index for index, row in enumerate(scored) if row["alert"] == "1"] == [len(rows) - 10]


def test_doctor_names_what_is_wrong(foreshock: Any) -> None:
    healthy = foreshock("doctor", "--json")
    assert healthy.code == 0
    assert all(check["ok"] for check in healthy.json)
    ill = foreshock("doctor", "--database", "sqlite:///missing.db", "--json")
    assert ill.code == 1
    assert [check["check"] for check in ill.json if not check["ok"]] == ["store", "labels"]


def test_doctor_holds_the_labels_of_a_store_against_those_of_training(
    foreshock: Any, history: Path
) -> None:
    foreshock("replay", history, "--database", "sqlite:///a.db")
    checks = foreshock("doctor", "--database", "sqlite:///a.db", "--json").json
    (said,) = (check["detail"] for check in checks if check["check"] == "labels")
    assert "2 messages" in said
    assert "sentiment" in said


def test_doctor_says_which_device_the_model_runs_on_and_why(
    foreshock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_TAG__DEVICE", "cpu")
    checks = {check["check"]: check for check in foreshock("doctor", "--json").json}
    assert checks["device"]["detail"].startswith("cpu (cpu: as configured), int8 by ")
    assert "openvino" in checks["model"]["detail"]


def test_a_gpu_that_is_not_there_is_one_sentence(
    foreshock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.backends.choice.DRIVER", "libnone.so")
    monkeypatch.setenv("FORESHOCK_TAG__DEVICE", "cuda")
    answer = foreshock("tag", "Profit falls")
    assert answer.code == 1
    assert answer.err.count("\n") <= 2
    assert "tag.device is 'cuda', but no NVIDIA driver is installed" in answer.err
    ill = foreshock("doctor", "--json")
    assert {c["check"] for c in ill.json if not c["ok"]} == {"device", "model"}


def test_a_hostile_text_does_not_drive_the_terminal(foreshock: Any) -> None:
    answer = foreshock("tag", "Profit \x1b[2J falls [red]not markup[/red]")
    assert "\x1b[2J" not in answer.out
    assert "[red]not markup[/red]" in answer.out
