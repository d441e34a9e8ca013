"""What a key may do."""

from typing import Annotated

from fastapi import APIRouter, Depends

from pipelines.console.access import Api, Caller
from pipelines.console.api.records import Identity
from pipelines.console.rights import Permission

router = APIRouter(tags=["keys"])


@router.get("/me")
def me(caller: Annotated[Caller, Depends(Api(Permission.READ))]) -> Identity:
    """Who the key belongs to, and what it may do."""
    return Identity(
        name=caller.user.name, role=caller.user.role, permissions=sorted(caller.permissions)
    )
