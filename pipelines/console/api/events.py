"""What happens to alerts, as it happens: server-sent events, one for each new row of the ledger."""

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import msgspec
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from pipelines.console import queries
from pipelines.console.access import Api, Caller, Refused
from pipelines.console.context import Console, In
from pipelines.console.rights import Permission

router = APIRouter(tags=["alerts"])

_EVERY = 1.0
_ALIVE_EVERY = 15.0
_LASTS = 600.0
"""Then the client comes again, with what it saw last, and its rights are looked at anew."""

_AT_ONCE = 500
_MOST_STREAMS = 100


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events `alert`."}},
)
def events(
    request: Request,
    _caller: Annotated[Caller, Depends(Api(Permission.READ))],
    here: In,
    after: Annotated[
        int | None, Query(ge=0, le=2**62, description="Row of the ledger; default: the last one.")
    ] = None,
    last_event_id: Annotated[str, Header(max_length=20)] = "",
) -> StreamingResponse:
    """A stream of events `alert`: `id` is the ledger's row, `data` what happened to which alert."""
    if here.streams.count >= _MOST_STREAMS:
        raise Refused(503, "Too many streams are open: come again later.")
    started = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else after
    if started is None:
        with here.store.snapshot() as connection:
            started = queries.last_sequence(connection)
    return StreamingResponse(
        _stream(request, here, started),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def _stream(request: Request, here: Console, sequence: int) -> AsyncIterator[bytes]:
    with here.streams:
        end, alive = time.monotonic() + _LASTS, time.monotonic()
        yield b"retry: 2000\n\n"
        while time.monotonic() < end and not await request.is_disconnected():
            rows = await run_sync(_new, here, sequence)
            for row in rows:
                sequence = row["sequence"]
                yield b"event: alert\nid: %d\ndata: %s\n\n" % (sequence, msgspec.json.encode(row))
            now = time.monotonic()
            if now - alive > _ALIVE_EVERY:
                alive = now
                yield b": still here\n\n"
            if len(rows) < _AT_ONCE:
                await anyio.sleep(_EVERY)


def _new(here: Console, sequence: int) -> list[dict[str, Any]]:
    with here.store.snapshot() as connection:
        return queries.events_after(connection, sequence, _AT_ONCE)
