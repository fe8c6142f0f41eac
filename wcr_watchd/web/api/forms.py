"""The bases of what may stand in a request to the API, and of what it answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Query(BaseModel):
    """What may stand in the query; nothing else may, unless a model says so."""

    model_config = ConfigDict(extra="forbid")


class Body(BaseModel):
    """What may stand in a JSON body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class By(Body):
    """Who asks, where that is not the visitor: a program may ask for somebody."""

    by: str | None = None


class Answer(BaseModel):
    """What is answered. Only the OpenAPI document needs these models, so they are built when it is made."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
