"""What a store holds, as data frames and as Parquet."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
from sqlalchemy import func, select

from connectors.errors import StoreError
from connectors.store import Store, schema
from pipelines import frames
from pipelines.command.main import run
from pipelines.configuration import Configuration
from pipelines.replay import replay
from pipelines.sources import File

KINDS = get_args(frames.Kind)
DAY = datetime(2014, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def database(surge: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('frames')}/surge.db"
    replay([File(surge)], database=url, configuration=Configuration())
    return url


@pytest.fixture
def foreshock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database: str
) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        command = ["foreshock", "export", *arguments, "--database", database]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def rows_of(database: str, table: str) -> int:
    with Store.existing(database) as store:
        (row,) = store.rows(select(func.count().label("n")).select_from(getattr(schema, table)))
    return int(row["n"])


def test_every_message_stands_in_the_frame_with_its_tags(database: str) -> None:
    found = frames.read("messages", database)
    assert len(found) == rows_of(database, "messages")
    assert found.published_at.is_monotonic_increasing
    assert str(found.published_at.dtype) == "datetime64[us, UTC]"
    assert found.loc[found.id.str.endswith("bad0"), "entities"].map(list).tolist() == [["BA"]]
    assert found[["negative", "neutral", "positive"]].sum(axis=1).round(4).eq(1).all()


def test_windows_add_up_to_the_messages(database: str) -> None:
    for seconds in (60, 3600):
        found = frames.read("windows", database, key="overall", seconds=seconds)
        assert set(found.key) == {"overall"}
        assert set(found.seconds) == {seconds}
        assert found.messages.sum() == rows_of(database, "messages")


def test_an_alert_leads_to_its_messages(database: str) -> None:
    alerts = frames.read("alerts", database, key="entity:BA")
    messages = frames.read("messages", database).set_index("id")
    assert len(alerts) >= 1
    shown = messages.loc[list(alerts.message_ids.iloc[0])]
    assert shown.sentiment.eq("negative").mean() > 0.5


def test_only_the_time_that_is_wanted_is_read(database: str) -> None:
    found = frames.read("messages", database, start=DAY)
    assert 0 < len(found) < rows_of(database, "messages")
    assert found.published_at.min() >= DAY
    before = frames.read("messages", database, end=DAY)
    assert len(before) + len(found) == rows_of(database, "messages")


def test_windows_of_an_older_model_are_not_mixed_in(database: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(Path(database.removeprefix("sqlite:///")).read_bytes())
    hours = frames.read("windows", f"sqlite:///{copy}", key="overall")
    with Store.open(copy) as store, store.transaction() as tx:
        old = tx.rows(select(schema.window_stats).limit(1))[0]
        tx.upsert("window_stats", [{**old, "configuration": "older"}])
    pd.testing.assert_frame_equal(frames.read("windows", f"sqlite:///{copy}", key="overall"), hours)
    assert len(frames.read("windows", f"sqlite:///{copy}", configuration="older")) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_the_same_frame(
    kind: frames.Kind,
    database: str,
    tmp_path: Path,
    foreshock: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "_TOGETHER", 100)  # a part at a time
    target = tmp_path / f"{kind}.parquet"
    code, out, _ = foreshock(kind, "--out", str(target))
    found = frames.read(kind, database)
    assert code == 0
    assert out.split()[-2:] == [f"{len(found):,}", kind]
    pd.testing.assert_frame_equal(pd.read_parquet(target), found)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_store_gives_an_empty_frame(kind: frames.Kind, tmp_path: Path) -> None:
    Store.open(tmp_path / "empty.db").close()
    found = frames.read(kind, f"sqlite:///{tmp_path}/empty.db")
    assert found.empty
    assert len(found.columns) > 5


def test_a_file_that_cannot_be_written_is_said(
    foreshock: Callable[..., tuple[int, str, str]],
) -> None:
    code, _, error = foreshock("alerts", "--out", "/nowhere/at/all.parquet")
    assert code == 1
    assert "cannot be written" in error


def test_messages_of_a_key_are_refused(database: str) -> None:
    with pytest.raises(StoreError, match="messages have no key"):
        frames.read("messages", database, key="entity:BA")
