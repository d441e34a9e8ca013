"""The queue: which alerts ask for somebody, by age and severity."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from alerting.spike import SEVERITIES
from pipelines.console import queries, views
from pipelines.console.access import Caller, Page, Refused
from pipelines.console.context import In
from pipelines.console.queries import Cursor, Order, Queue, Shelf
from pipelines.console.rendering import page
from pipelines.console.rights import Permission

router = APIRouter()

Reader = Annotated[Caller, Depends(Page(Permission.READ))]

_A_PAGE = 50
_SHELVES = {
    Shelf.TO_DO: "To do",
    Shelf.OPEN: "Open",
    Shelf.UNSEEN: "Not acknowledged",
    Shelf.MINE: "Mine",
    Shelf.ALL: "All",
}
_ORDERS = {
    Order.SEVERE: "Most severe first",
    Order.NEWEST: "Newest first",
    Order.OLDEST: "Oldest first",
}


@router.get("/")
def home(reader: Annotated[Caller, Depends(Page(None))]) -> Response:
    """To where his work is."""
    there = "/alerts" if reader.may(Permission.READ) else "/account"
    return RedirectResponse(there, 303)


@router.get("/alerts")
def show(
    request: Request,
    reader: Reader,
    here: In,
    shelf: Shelf = Shelf.TO_DO,
    order: Order = Order.SEVERE,
    severity: Annotated[str, Query(max_length=16)] = "",
    after: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    """One page of a queue."""
    if severity and severity not in SEVERITIES:
        raise Refused(422, f"A severity is one of {', '.join(SEVERITIES)}.")
    wanted = Queue(shelf=shelf, order=order, severity=severity or None, reader=reader.user.name)
    with here.store.snapshot() as connection:
        rows, following = queries.queue(connection, wanted, cursor(after), _A_PAGE)
        counts = {
            name: queries.count(connection, Queue(shelf=name, reader=reader.user.name))
            for name in _SHELVES
        }
        sequence = queries.last_sequence(connection)
    chosen = {"shelf": shelf.value, "order": order.value, "severity": severity}
    return page(
        request,
        "queue.html",
        caller=reader,
        lines=[views.line(row, here.now()) for row in rows],
        shelves=[(name, label, _counted(counts[name])) for name, label in _SHELVES.items()],
        orders=_ORDERS,
        chosen=chosen,
        following=_address(chosen, following) if following else None,
        first=_address(chosen, None) if after else None,
        sequence=sequence,
    )


def cursor(text: str) -> Cursor | None:
    """The cursor in an address, None for none. Raises `Refused`."""
    try:
        return Cursor.decode(text) if text else None
    except ValueError as error:
        raise Refused(422, f"{error}.") from error


def _address(chosen: dict[str, str], after: Cursor | None) -> str:
    given: dict[str, Any] = {name: value for name, value in chosen.items() if value}
    return "/alerts?" + urlencode(given | ({"after": after.encode()} if after else {}))


def _counted(number: int) -> str:
    return f"{number:,}" if number < queries.MOST_COUNTED else f"{number:,}+"
