"""Messages with their tags, and corrections of these."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from pipelines.console import deciding, queries
from pipelines.console.access import Api, Caller, Refused
from pipelines.console.api.records import (
    After,
    Corrected,
    Correction,
    Limit,
    Message,
    Messages,
    Moment,
    Sentiment,
    following,
)
from pipelines.console.context import In
from pipelines.console.pages.queue import cursor
from pipelines.console.queries import Search
from pipelines.console.rights import Permission

router = APIRouter(tags=["messages"])

Reader = Annotated[Caller, Depends(Api(Permission.READ))]
Corrector = Annotated[Caller, Depends(Api(Permission.CORRECT))]
Text = Annotated[str | None, Query(max_length=200)]


@router.get("/messages")
def search(
    _caller: Reader,
    here: In,
    q: Annotated[str, Query(max_length=200, description="Words, all of which it holds.")] = "",
    sentiment: Sentiment | None = None,
    topic: Text = None,
    company: Text = None,
    until: Annotated[Moment | None, Query(description="Published before.")] = None,
    limit: Limit = 50,
    after: After = "",
) -> Messages:
    """The newest messages that fit, among the next 10,000: go on with `next` for older ones."""
    wanted = Search(
        words=q.split()[:8], sentiment=sentiment, topic=topic, company=company, until=until
    )
    with here.store.snapshot() as connection:
        found = queries.search(connection, wanted, cursor(after), limit)
    return Messages(
        items=[Message.model_validate(row) for row in found.rows],
        next=following(found.next),
        searched_back_to=found.back_to,
    )


@router.get("/messages/{message_id:path}")
def one_message(_caller: Reader, here: In, message_id: str) -> Message:
    """One message."""
    with here.store.snapshot() as connection:
        row = queries.message(connection, message_id)
    if row is None:
        raise Refused(404, "There is no such message.")
    return Message.model_validate(row)


@router.get("/corrections")
def corrections(_caller: Corrector, here: In) -> list[Corrected]:
    """All that people corrected; the last word about a message and a head counts."""
    with here.store.snapshot() as connection:
        return [Corrected.model_validate(row) for row in queries.all_corrections(connection)]


@router.post("/corrections", status_code=201)
def correct(caller: Corrector, here: In, body: Correction) -> Corrected:
    """What a label should have been; nothing that was shown changes."""
    deciding.correct(here, caller, body.message_id, body.head, body.label)
    with here.store.snapshot() as connection:
        return Corrected.model_validate(queries.corrections_of(connection, body.message_id)[-1])
