"""The application: routes, what guards them, and errors as the asker can read them."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from math import ceil
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from alerting.errors import AlertingError, DecisionRefused
from connectors.errors import StoreError
from models.errors import ModelError
from pipelines.console import api
from pipelines.console.access import LogInFirst, Refused, by_session
from pipelines.console.context import Console
from pipelines.console.pages import (
    alert,
    dashboards,
    deliveries,
    entry,
    ledger,
    messages,
    mood,
    people,
    queue,
    rules,
    silences,
)
from pipelines.console.problems import API, problem
from pipelines.console.rendering import assets, page
from pipelines.console.shield import Shield, TooLarge
from pipelines.manifest import VERSION

_LOG = logging.getLogger(__name__)


def build(console: Console) -> FastAPI:
    """The application over one console."""
    app = FastAPI(
        title="Foreshock",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
        redirect_slashes=False,
    )
    app.state.console = console
    app.add_middleware(Shield, hosts=console.settings.hosts, secure=console.secure)
    pages = (
        entry,
        queue,
        alert,
        mood,
        dashboards,
        messages,
        silences,
        rules,
        deliveries,
        ledger,
        people,
    )
    for module in pages:
        app.include_router(module.router, include_in_schema=False)
    app.include_router(api.router, prefix=API)
    app.add_api_route("/static/{name}", _static, include_in_schema=False)
    app.add_api_route("/health", _health, include_in_schema=False)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return app


def _static(request: Request, name: str) -> Response:
    asset = assets().get(name)
    if asset is None:
        raise Refused(404, "There is no such file.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.packed, media_type=asset.kind, headers=headers)
    return Response(asset.plain, media_type=asset.kind, headers=headers)


def _health() -> Response:
    return PlainTextResponse("ok\n")


def _answer(request: Request, status: int, detail: str, wait: float = 0.0) -> Response:
    if request.url.path.startswith(API):
        answer = problem(status, detail)
    else:
        title = HTTPStatus(status).phrase
        caller = None if status == HTTPStatus.SERVICE_UNAVAILABLE else by_session(request)
        answer = page(
            request, "error.html", caller=caller, status=status, title=title, detail=detail
        )
    if wait:
        answer.headers["Retry-After"] = str(ceil(wait))
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _log_in_first(request: Request, _error: Exception) -> Response:
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(
        f"/login?next={quote(path)}" if request.method == "GET" else "/login", 303
    )


def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    return _answer(request, error.status, error.detail, error.wait)


def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _answer(request, 422, f"{where or 'The request'}: {first['msg']}.")


def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    answer = _answer(request, error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _decision(request: Request, error: Exception) -> Response:
    return _answer(request, 409, str(error))


def _unavailable(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s: %s", request.method, request.url.path, error)
    return _answer(request, 503, "The store or the model does not answer: the log says why.")


def _too_large(request: Request, _error: Exception) -> Response:
    return _answer(request, 413, "The request is too long.")


def _failed(request: Request, _error: Exception) -> Response:
    """What we did not foresee: the log has it, the asker learns nothing of our insides."""
    if request.url.path.startswith(API):
        return problem(500, "Something went wrong here: the log says what.")
    return PlainTextResponse("Something went wrong here: the log says what.\n", 500)


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Response]] = {
    LogInFirst: _log_in_first,
    Refused: _refused,
    RequestValidationError: _invalid,
    HTTPException: _http,
    DecisionRefused: _decision,
    TooLarge: _too_large,
    AlertingError: _unavailable,
    StoreError: _unavailable,
    ModelError: _unavailable,
    Exception: _failed,
}
