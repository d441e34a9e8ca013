"""Logging in and out, and what a user does with his own account."""

import hmac
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from pipelines.console.access import Action, Caller, Page, Refused, by_session, log_in
from pipelines.console.accounts import User, scopes
from pipelines.console.context import Console, In, address
from pipelines.console.errors import AccountError
from pipelines.console.oidc import STATE_SECONDS, Provider
from pipelines.console.rendering import page
from pipelines.console.rights import KEY_SCOPES

router = APIRouter()

Reader = Annotated[Caller, Depends(Page(None))]
Owner = Annotated[Caller, Depends(Action(None))]

_LONGEST_KEY_DAYS = 366
_STATE = "foreshock_oidc"


@router.get("/login")
def ask(
    request: Request, here: In, goto: Annotated[str, Query(alias="next", max_length=500)] = "/"
) -> Response:
    """Who is it?"""
    if by_session(request) is not None:
        return RedirectResponse(local(goto), 303)
    return _asked(request, here, local(goto))


@router.post("/login")
def enter(
    request: Request,
    here: In,
    name: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=512)] = "",
    goto: Annotated[str, Form(alias="next", max_length=500)] = "/",
) -> Response:
    """In, with a fresh session."""
    try:
        user = log_in(here, name.strip(), password, address(request))
    except AccountError as error:
        return _asked(request, here, local(goto), str(error))
    return welcome(request, here, user, local(goto))


@router.get("/login/oidc")
def ask_provider(
    request: Request, here: In, goto: Annotated[str, Query(alias="next", max_length=500)] = "/"
) -> Response:
    """To the provider; the state that the browser must bring back is in a cookie of its own."""
    provider = _provider(here)
    redirect = str(request.base_url) + "login/oidc/callback"
    try:
        to, state = provider.begin(redirect, local(goto))
    except AccountError as error:
        return _asked(request, here, local(goto), str(error))
    answer = RedirectResponse(to, 303)
    answer.set_cookie(
        _STATE,
        state,
        max_age=STATE_SECONDS,
        path="/login/oidc",
        secure=here.secure,
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/login/oidc/callback")
def enter_vouched(
    request: Request,
    here: In,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=4_000)] = "",
) -> Response:
    """In, if the provider vouches for him, and it is the browser that was sent there."""
    provider, source = _provider(here), address(request)
    if wait := here.log_ins_address.wait(source):
        raise Refused(429, "Too many log-ins that failed: wait a little.", wait)
    sent = request.cookies.get(_STATE, "")
    if not state or not hmac.compare_digest(sent.encode(), state.encode()):
        # Any page elsewhere can bring a browser here: that counts for nothing.
        return _asked(request, here, "/", "This log-in was not begun in this browser: begin anew.")
    try:
        user, target = provider.finish(state, code, here.accounts)
    except AccountError as error:
        here.log_ins_address.take(source)
        here.accounts.refused("", address=source)
        return _asked(request, here, "/", str(error))
    answer = welcome(request, here, user, target)
    answer.delete_cookie(_STATE, path="/login/oidc")
    return answer


@router.post("/logout")
def leave(caller: Owner, here: In) -> Response:
    """Out: the session ends here, whatever the browser keeps."""
    here.accounts.end_session(caller.session or "")
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(here.cookie, path="/", secure=here.secure, httponly=True, samesite="lax")
    return answer


@router.get("/account")
def account(request: Request, reader: Reader, here: In) -> Response:
    """His password and keys."""
    return _account(request, reader, here)


@router.post("/account/password")
def change_password(
    request: Request,
    caller: Owner,
    here: In,
    old: Annotated[str, Form(max_length=512)] = "",
    new: Annotated[str, Form(max_length=512)] = "",
) -> Response:
    """Another password: he is asked for the old one, and all his sessions end but this one."""
    try:
        log_in(here, caller.user.name, old, address(request))
        here.accounts.set_password(caller.user.name, new, actor=caller.user.name)
    except AccountError as error:
        return _account(request, caller, here, refusal=str(error))
    return welcome(request, here, caller.user, "/account")


@router.post("/account/keys")
def add_key(
    request: Request,
    caller: Owner,
    here: In,
    label: Annotated[str, Form()] = "",
    scope: Annotated[tuple[str, ...], Form()] = (),
    days: Annotated[int, Form(ge=1, le=_LONGEST_KEY_DAYS)] = 90,
) -> Response:
    """A new key, shown this once."""
    try:
        expires = here.now() + timedelta(days=days)
        key = here.accounts.add_key(caller.user, label, scopes(scope), expires)
    except AccountError as error:
        return _account(request, caller, here, refusal=str(error))
    return _account(request, caller, here, key=key)


@router.post("/account/keys/{key_id}/revoke")
def revoke_key(request: Request, caller: Owner, here: In, key_id: str) -> Response:
    """The key opens nothing more."""
    try:
        here.accounts.revoke_key(caller.user, key_id)
    except AccountError as error:
        return _account(request, caller, here, refusal=str(error))
    return RedirectResponse("/account", 303)


def local(target: str) -> str:
    """The target if it is a page of this console, else the first page."""
    parts = urlsplit(target)
    # Browsers read "\" as "/", and leave out tabs and line breaks.
    foreign = parts.scheme or parts.netloc or "\\" in target or not target.isprintable()
    return target if target.startswith("/") and not target.startswith("//") and not foreign else "/"


def welcome(request: Request, here: Console, user: User, target: str) -> Response:
    """To the target, with a fresh session; the one he came with ends."""
    before = request.cookies.get(here.cookie)
    if before:
        here.accounts.end_session(before)
    answer = RedirectResponse(target, 303)
    answer.set_cookie(
        here.cookie,
        here.accounts.open_session(user, address=address(request)),
        max_age=int(here.accounts.session_length.total_seconds()),
        path="/",
        secure=here.secure,
        httponly=True,
        samesite="lax",
    )
    return answer


def _provider(here: Console) -> Provider:
    if here.provider is None:
        raise Refused(404, "No OpenID Connect provider is configured.")
    return here.provider


def _asked(request: Request, here: Console, goto: str, refusal: str | None = None) -> Response:
    return page(
        request,
        "login.html",
        status=401 if refusal else 200,
        goto=goto,
        refusal=refusal,
        provider=here.provider.settings.label if here.provider else None,
    )


def _account(
    request: Request,
    reader: Caller,
    here: Console,
    refusal: str | None = None,
    key: str | None = None,
) -> Response:
    return page(
        request,
        "account.html",
        caller=reader,
        status=422 if refusal else 200,
        refusal=refusal,
        key=key,
        keys=here.accounts.keys(reader.user),
        scopes=sorted(reader.user.permissions & KEY_SCOPES),
    )
