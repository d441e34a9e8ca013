import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.command.live_session import line
from pipelines.command.main import app
from pipelines.live.settings import LiveSettings
from pipelines.live.status import LiveStatus, read_status, write_status
from pipelines.live.supervisor import JobFolder


def foreshock(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--demo",), "--demo goes with --local"),
        (("--demo", "--local", "--topic", "news"), "brings its own topic"),
        (("--local", "--flink", "host:8081"), "--local brings its own Flink"),
        (("--full",), "--full goes with --local"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["live", *arguments])
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.replace("│", " ").split())


def test_a_job_that_nobody_knows_is_said_so(tmp_path: Path) -> None:
    done = foreshock(tmp_path, "live", "status", "--topic", "news")
    assert done.returncode == 1
    assert "Nothing is known of a job" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[live]\nflink = "127.0.0.1:9"\n')
    done = foreshock(tmp_path, "live", "stop", "--config", "settings.toml")
    assert done.returncode == 1
    assert "Flink cannot be reached at http://127.0.0.1:9" in done.stderr


def test_what_was_noted_of_a_job_is_read_again_and_told_in_a_line(tmp_path: Path) -> None:
    folder = JobFolder(LiveSettings(folder=tmp_path), "job")
    folder.path.mkdir()
    assert read_status(folder) is None
    now = datetime.now(UTC)
    status = LiveStatus(
        name="job",
        flink="http://localhost:8081",
        run="r",
        at=now,
        job="j",
        state="RUNNING",
        handed_over=2,
        restarts=3,
        watermark=datetime(2014, 3, 5, 13, 20, tzinfo=UTC),
        checkpoint_at=now,
        checkpoint_bytes=1000,
        read=12_004,
        rate=840.2,
        lag={0: 1470, 1: 2983},
    )
    write_status(folder, status)
    assert read_status(folder) == status
    assert line(status) == (
        "running, event time 2014-03-05 13:20, read 12,004 (840/s), 4,453 behind, "
        "checkpoint 0 s ago, 4 restarts"
    )
