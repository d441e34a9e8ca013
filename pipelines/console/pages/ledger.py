"""The ledger's proof: what is known, and a button that makes a new one; exports of a time."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from pipelines.console import deciding, queries
from pipelines.console.access import Action, Caller, Page, Refused
from pipelines.console.context import Console, In
from pipelines.console.pages.alert import KINDS
from pipelines.console.rendering import download, page
from pipelines.console.rights import Permission
from pipelines.export import pdf, writing

router = APIRouter(prefix="/ledger")

_NEWEST = 20
_WAIT_SECONDS = 2


@router.get("")
def show(
    request: Request, reader: Annotated[Caller, Depends(Page(Permission.READ))], here: In
) -> Response:
    """The last proof, and the newest rows; while one is made, browsers ask again."""
    return _page(request, reader, here)


@router.post("/export")
def export(
    request: Request,
    caller: Annotated[Caller, Depends(Action(Permission.EXPORT))],
    here: In,
    first: Annotated[date | None, Form()] = None,
    last: Annotated[date | None, Form()] = None,
    form: Annotated[writing.Form, Form()] = "html",
) -> Response:
    """All that the alerts of some days rest on, as a file."""
    try:
        if first is None or last is None:
            raise Refused(422, "Give the first and the last day.")
        file = deciding.export_range(here, caller, first, last, form)
    except Refused as refusal:
        return _page(request, caller, here, refusal)
    return download(file, KINDS[form], f"alerts-{first}-{last}.{form}")


def _page(
    request: Request, reader: Caller, here: Console, refusal: Refused | None = None
) -> Response:
    verification = here.verifier.last
    with here.store.snapshot() as connection:
        end = queries.last_sequence(connection)
        newest = queries.newest_events(connection, _NEWEST)
    answer = page(
        request,
        "ledger.html",
        caller=reader,
        status=refusal.status if refusal else 200,
        refusal=refusal.detail if refusal else None,
        verification=verification,
        end=end,
        newest=newest,
        today=here.now().date(),
        most=deciding.MOST_EXPORTED,
        prints=pdf.browser() is not None,
    )
    if verification.running and not refusal:
        answer.headers["Refresh"] = str(_WAIT_SECONDS)
    return answer


@router.post("/verify")
def verify(caller: Annotated[Caller, Depends(Action(Permission.VERIFY))], here: In) -> Response:
    """Begins a proof."""
    here.verifier.start(caller.user.name)
    return RedirectResponse("/ledger", 303)
