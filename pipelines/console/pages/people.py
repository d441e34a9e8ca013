"""Users and their roles, for admins; and what happened to accounts."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from pipelines.console.access import Action, Caller, Page
from pipelines.console.context import Console, In
from pipelines.console.errors import AccountError
from pipelines.console.rendering import page
from pipelines.console.rights import PERMISSIONS, Permission, Role

router = APIRouter(prefix="/users")

Reader = Annotated[Caller, Depends(Page(Permission.USERS))]
Admin = Annotated[Caller, Depends(Action(Permission.USERS))]

_EVENTS = 50


@router.get("")
def show(request: Request, reader: Reader, here: In) -> Response:
    """All users."""
    return _page(request, reader, here)


@router.post("")
def add(
    request: Request,
    caller: Admin,
    here: In,
    name: Annotated[str, Form(max_length=64)] = "",
    role: Annotated[Role, Form()] = Role.ANALYST,
    password: Annotated[str, Form(max_length=512)] = "",
) -> Response:
    """A new user."""
    try:
        here.accounts.add(name, role, password or None, actor=caller.user.name)
    except AccountError as error:
        return _page(request, caller, here, str(error))
    return RedirectResponse("/users", 303)


@router.post("/{name}/role")
def set_role(
    request: Request, caller: Admin, here: In, name: str, role: Annotated[Role, Form()]
) -> Response:
    """Another role; not his own, so that there is always somebody else who knows of it."""
    try:
        _another(caller, name)
        here.accounts.set_role(name, role, actor=caller.user.name)
    except AccountError as error:
        return _page(request, caller, here, str(error))
    return RedirectResponse("/users", 303)


@router.post("/{name}/disable")
def disable(request: Request, caller: Admin, here: In, name: str) -> Response:
    """Lets him in no more."""
    try:
        _another(caller, name)
        here.accounts.disable(name, actor=caller.user.name)
    except AccountError as error:
        return _page(request, caller, here, str(error))
    return RedirectResponse("/users", 303)


@router.post("/{name}/enable")
def enable(request: Request, caller: Admin, here: In, name: str) -> Response:
    """Lets him in again."""
    try:
        here.accounts.enable(name, actor=caller.user.name)
    except AccountError as error:
        return _page(request, caller, here, str(error))
    return RedirectResponse("/users", 303)


def _another(caller: Caller, name: str) -> None:
    if name == caller.user.name:
        raise AccountError("this is you: let another admin change it")


def _page(request: Request, caller: Caller, here: Console, refusal: str | None = None) -> Response:
    return page(
        request,
        "users.html",
        caller=caller,
        status=422 if refusal else 200,
        users=here.accounts.users(),
        roles=PERMISSIONS,
        events=here.accounts.events(_EVENTS),
        refusal=refusal,
    )
