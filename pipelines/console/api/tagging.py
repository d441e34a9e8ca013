"""Texts, tagged by the model that the console's configuration names."""

from typing import Annotated

from fastapi import APIRouter, Depends

from pipelines.console.access import Api, Caller
from pipelines.console.api.records import Tagged, Texts
from pipelines.console.context import In
from pipelines.console.rights import Permission
from pipelines.texts import tag_all

router = APIRouter(tags=["tagging"])


@router.post("/tag")
def tag(_caller: Annotated[Caller, Depends(Api(Permission.TAG))], here: In, body: Texts) -> Tagged:
    """Topic and sentiment of up to 64 texts, with probabilities and the companies they name."""
    return Tagged(items=list(tag_all(body.texts, here.configuration.tag.tagger())))
