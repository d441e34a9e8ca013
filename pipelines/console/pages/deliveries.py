"""Deliveries that were given up or refused, and having one tried again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from pipelines.alerting.delivery import revive
from pipelines.console import queries
from pipelines.console.access import Action, Caller, Page, Refused
from pipelines.console.context import In
from pipelines.console.pages.queue import cursor
from pipelines.console.rendering import page
from pipelines.console.rights import Permission

router = APIRouter(prefix="/deliveries")

_A_PAGE = 50


@router.get("")
def show(
    request: Request,
    reader: Annotated[Caller, Depends(Page(Permission.READ))],
    here: In,
    after: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    """Dead ones, the newest first."""
    with here.store.snapshot() as connection:
        rows, following = queries.dead_deliveries(connection, cursor(after), _A_PAGE)
    return page(
        request,
        "deliveries.html",
        caller=reader,
        deliveries=rows,
        following=following.encode() if following else None,
    )


@router.post("/{delivery_id}/retry")
def retry(
    caller: Annotated[Caller, Depends(Action(Permission.RETRY))], here: In, delivery_id: str
) -> Response:
    """It is due again, under the same id."""
    with here.store.transaction() as tx:
        if not revive(tx, delivery_id, actor=caller.user.name, now=here.now()):
            raise Refused(404, "There is no such delivery, or it is not dead any more.")
    return RedirectResponse("/deliveries", 303)
