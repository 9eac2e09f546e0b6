"""Bodies of requests. A field that is not known here is refused, so that nothing asked for is silently not done."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Body(BaseModel):
    """Base."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class Id(Body):
    """An object's id, or a unique value of it."""

    id: str


class LinkType(Body):
    """What a tie means."""

    association_category: str
    association_type_id: int


class Link(Body):
    """A tie to make with a new object."""

    to: Id
    types: list[LinkType]


class Create(Body):
    """A new object."""

    properties: dict[str, str | None]
    associations: list[Link] = []


class Update(Body):
    """New values."""

    properties: dict[str, str | None]


class BatchUpdate(Update):
    """New values of one of several."""

    id: str


class Creates(Body):
    inputs: list[Create] = Field(max_length=100)


class Updates(Body):
    inputs: list[BatchUpdate] = Field(max_length=100)


class Ids(Body):
    inputs: list[Id] = Field(max_length=100)


class BatchRead(Ids):
    """Which objects, by which property, with which properties."""

    id_property: str | None = None
    properties: list[str] = []
    properties_with_history: list[Any] = Field(default=[], max_length=0)


class LinksOf(Id):
    """Whose ties, from which on."""

    after: str = "0"


class BatchLinks(Body):
    inputs: list[LinksOf] = Field(max_length=1000)


class GdprDelete(Body):
    object_id: str
    id_property: str | None = None


class Merge(Body):
    primary_object_id: str
    object_id_to_merge: str
