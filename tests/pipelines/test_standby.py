"""`foreshock alerts run` where another process follows the store already."""

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from connectors.store import Store
from connectors.store.sole import Sole
from pipelines.alerting.process import LOCK
from pipelines.command import alerting
from pipelines.command.main import run


@pytest.fixture
def other(tmp_path: Path) -> Any:
    """The lock, held by somebody else."""
    with Store.open(f"sqlite:///{tmp_path}/alerts.db") as store:
        lock = Sole(store, LOCK)
        lock.hold()
        yield lock
        lock.release()


@pytest.fixture
def alerts_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Any:
    def call(*options: str) -> tuple[int, str]:
        command = ["foreshock", "alerts", "run", "--database", f"sqlite:///{tmp_path}/alerts.db"]
        monkeypatch.setattr(sys, "argv", [*command, *options])
        with pytest.raises(SystemExit) as ended:
            run()
        return int(ended.value.code or 0), capsys.readouterr().err

    return call


@pytest.mark.usefixtures("other")
def test_a_second_process_is_refused_unless_it_may_wait(alerts_run: Any) -> None:
    code, said = alerts_run("--once")
    assert code == 1
    assert "another process" in said.lower()
    code, again = alerts_run("--once", "--standby")
    assert code == 0
    assert again.count("\n") == 1


def test_it_takes_over_when_the_other_ends(
    alerts_run: Any, other: Sole, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(threading.Event):
        """The other ends while we wait; then somebody asks us to end."""

        def wait(self, timeout: float | None = None) -> bool:
            if timeout == alerting._STANDBY_SECONDS:
                other.release()
                return False
            self.set()
            return True

    monkeypatch.setattr(alerting, "stop_signal", Stop)
    code, said = alerts_run("--standby")
    assert code == 0
    assert "Following" in said
