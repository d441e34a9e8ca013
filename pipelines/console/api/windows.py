"""Counts of one key through time."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from pipelines.console import queries
from pipelines.console.access import Api, Caller, Refused
from pipelines.console.api.records import Limit, Moment, Window, Windows
from pipelines.console.context import In
from pipelines.console.rights import Permission
from pipelines.report.queries import Period

router = APIRouter(tags=["windows"])


@router.get("/windows")
def windows(
    _caller: Annotated[Caller, Depends(Api(Permission.READ))],
    here: In,
    key: Annotated[str, Query(max_length=200, description="`overall`, `topic:…` or `entity:…`.")],
    start: Annotated[Moment, Query(description="Windows that begin then or later.")],
    end: Annotated[Moment, Query(description="And before then.")],
    seconds: Annotated[Literal["60", "3600"], Query(description="Their length.")] = "3600",
    configuration: Annotated[
        str | None, Query(max_length=64, description="Default: the one with the newest windows.")
    ] = None,
    limit: Limit = 500,
) -> Windows:
    """Windows of a minute or an hour in which there was anything."""
    with here.store.snapshot() as connection:
        chosen = configuration or queries.newest_configuration(connection)
        if chosen is None:
            raise Refused(404, "No message was counted yet.")
        rows = queries.windows(connection, chosen, key, int(seconds), Period(start, end), limit + 1)
    items = [Window.model_validate(row) for row in rows[:limit]]
    more = items[-1].start + timedelta(seconds=int(seconds)) if len(rows) > limit else None
    return Windows(configuration=chosen, items=items, next=more)
