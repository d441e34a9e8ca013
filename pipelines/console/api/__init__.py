"""The REST API under `/api/v1`: the same rights and the same ledger as the pages."""

from typing import Any

from fastapi import APIRouter

from pipelines.console.api import alerts, events, keys, messages, tagging, windows
from pipelines.console.api.records import Problem

_PROBLEMS = {
    400: "The request cannot be read.",
    401: "No valid key.",
    403: "The key's scopes, or its owner's role, do not reach so far.",
    404: "There is no such thing.",
    409: "The alert's state does not allow it; `detail` says why.",
    413: "The request is too long.",
    422: "A value is not what it must be; `detail` says which.",
    429: "Too many requests; `Retry-After` says how long to wait.",
    503: "The store or the model does not answer.",
}

_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    }
    for status, description in _PROBLEMS.items()
}

router = APIRouter(responses=_RESPONSES)
for _module in (alerts, events, keys, messages, tagging, windows):
    router.include_router(_module.router)
