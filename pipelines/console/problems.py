"""Errors of the API as RFC 9457 has them."""

from http import HTTPStatus

from starlette.responses import JSONResponse, Response

API = "/api/v1"
"""Where the API begins; all else is pages."""


def problem(status: int, detail: str) -> Response:
    """One sentence for who called."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return JSONResponse(body, status, media_type="application/problem+json")
