import subprocess
import sys
from pathlib import Path

import pytest

from models.behaviour import Case, Group, load_groups, pass_rates
from models.behaviour.cases import BehaviourError
from models.tagger import Tagger
from models.tags import SENTIMENTS

FLOORS = {
    "other ticker": 0.8,
    "other name": 0.9,
    "other number, same direction": 0.9,
    "link or handle added": 0.9,
    "retweet prefix": 1.0,
    "spelling and case": 0.9,
    "bad news added": 0.9,
    "good news added": 0.9,
}
"""A little below what the shipped model has: to notice a loss, not to choose the cases."""


def test_the_cases_are_many_and_each_is_there_once() -> None:
    groups = load_groups()
    cases = [case for group in groups for case in group.cases]
    assert len(cases) >= 150
    assert len(set(cases)) == len(cases)
    for group in groups:
        assert len(group.cases) >= 8
        for case in group.cases:
            assert (case.changed is None) == (group.kind == "label")
            assert case.changed != case.text
            assert (case.label is None) == (group.kind == "invariance")
            assert case.label is None or case.label in SENTIMENTS


def test_the_shipped_model_passes_as_much_as_its_card_says(tagger: Tagger) -> None:
    rates = {group.group: group for group in pass_rates(tagger)}
    assert {name: rates[name].failures for name, least in FLOORS.items()
            if rates[name].rate < least} == {}  # fmt: skip


def test_what_is_not_passed_is_named(tagger: Tagger) -> None:
    plunge, soar = "Shares plunge after profit warning", "Shares soar on record profit"
    (label,) = pass_rates(
        tagger, [Group("x", "label", (Case(plunge, label="negative"), Case(soar, label="neutral")))]
    )
    assert (label.cases, label.passed, label.rate) == (2, 1, 0.5)
    assert (label.failures[0].case.text, label.failures[0].found) == (soar, "positive")

    (invariance,) = pass_rates(
        tagger, [Group("x", "invariance", (Case(plunge, soar), Case(plunge, f"{plunge}!")))]
    )
    assert [f.found for f in invariance.failures] == ["negative became positive"]

    (direction,) = pass_rates(
        tagger,
        [Group("x", "direction", (Case(plunge, soar, "negative"), Case(soar, plunge, "positive")))],
    )
    assert len(direction.failures) == 2
    assert "negative fell from" in direction.failures[0].found


def test_values_fill_texts_and_frames_go_around_them(tmp_path: Path) -> None:
    path = tmp_path / "cases.toml"
    path.write_text(
        '[[group]]\nname = "a"\nkind = "invariance"\n'
        'values = ["A", "B", "C"]\ntexts = ["{} falls"]\n'
        '[[group]]\nname = "b"\nkind = "direction"\nlabel = "negative"\n'
        'frames = ["{} Bad."]\ntexts = ["Hm."]\ncases = [["x", "y"]]\n'
    )
    first, second = load_groups(path)
    assert first.cases == (Case("A falls", "B falls"), Case("A falls", "C falls"))
    assert second.cases == (Case("x", "y", "negative"), Case("Hm.", "Hm. Bad.", "negative"))


@pytest.mark.parametrize("content", ["[[group]]\nname = 3", "not toml", '[[group]]\nkind = "x"'])
def test_cases_that_cannot_be_read_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "cases.toml"
    path.write_text(content)
    with pytest.raises(BehaviourError, match=r"cases\.toml cannot be read"):
        load_groups(path)


def test_the_command_prints_the_rates_and_refuses_a_missing_model(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "models.behaviour"]
    shown = subprocess.run([*command, "--failures"], capture_output=True, text=True, check=True)
    assert "invariance: retweet prefix" in shown.stdout
    assert "in all" in shown.stdout
    refused = subprocess.run(
        [*command, "--model", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
