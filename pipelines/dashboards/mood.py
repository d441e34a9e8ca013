"""The panels that the market, a company and a topic have alike; `key` is the SQL of its key."""

from typing import Any

from pipelines.dashboards import panels, sql


def negative_share(
    description: str, key: str, *, orange: float = 0.3, red: float = 0.5, width: int = 6
) -> Any:
    """One figure; `orange` and `red`: from which share on."""
    return panels.number(
        "Negative share",
        description,
        sql.total(key, sql.NEGATIVE_SHARE),
        unit="percentunit",
        decimals=1,
        width=width,
        steps=((None, panels.GREEN), (orange, panels.ORANGE), (red, panels.RED)),
    )


def balance(description: str, key: str, *, width: int = 6) -> Any:
    """One figure from -1 to 1."""
    return panels.number(
        "Balance",
        description,
        sql.total(key, sql.BALANCE),
        unit="none",
        decimals=2,
        width=width,
        steps=((None, panels.RED), (-0.1, panels.ORANGE), (0, panels.GREEN)),
    )


def negative_share_over_time(key: str) -> Any:
    """A line."""
    return panels.lines(
        "Negative share over time",
        "Negative messages among those with a sentiment.",
        sql.negative_share(key),
        unit="percentunit",
        low=0,
        high=1,
    )


def new_negative_stories(description: str, key: str, *, width: int = 24) -> Any:
    """Lines by the hour with what is usual, and the detector's expectation as points."""
    return panels.lines(
        "New negative stories, and what is usual",
        description,
        [sql.usual(key), sql.spike_points(key)],
        width=width,
        points=("seen at a spike", "expected by the detector"),
        low=0,
    )
