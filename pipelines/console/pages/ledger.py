"""The ledger's proof: what is known, and a button that makes a new one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from pipelines.console import queries
from pipelines.console.access import Action, Caller, Page
from pipelines.console.context import In
from pipelines.console.rendering import page
from pipelines.console.rights import Permission

router = APIRouter(prefix="/ledger")

_NEWEST = 20
_WAIT_SECONDS = 2


@router.get("")
def show(
    request: Request, reader: Annotated[Caller, Depends(Page(Permission.READ))], here: In
) -> Response:
    """The last proof, and the newest rows; while one is made, browsers ask again."""
    last = here.verifier.last
    with here.store.snapshot() as connection:
        end = queries.last_sequence(connection)
        newest = queries.newest_events(connection, _NEWEST)
    answer = page(request, "ledger.html", caller=reader, verification=last, end=end, newest=newest)
    if last.running:
        answer.headers["Refresh"] = str(_WAIT_SECONDS)
    return answer


@router.post("/verify")
def verify(caller: Annotated[Caller, Depends(Action(Permission.VERIFY))], here: In) -> Response:
    """Begins a proof."""
    here.verifier.start(caller.user.name)
    return RedirectResponse("/ledger", 303)
