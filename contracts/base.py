"""How every message is built: frozen, strict where Letheia writes, tolerant where it reads."""

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:  # the first or last hours of the calendar, in another zone
        raise ValueError("is outside the calendar in UTC") from None


Instant = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""A moment: aware, kept in UTC."""


class Message(BaseModel):
    """Base of all messages: immutable, and `extra="forbid"` so that a misspelt field never passes silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def read(cls, data: Any) -> Self:
        """Build from decoded JSON written by a possibly newer Letheia: fields unknown here are ignored.

        Raises `pydantic.ValidationError`. Submissions and amendments are *not* read this way: there an unknown
        field may be a misspelt option, and a misspelt `export_first` must not become an erasure without its export.
        """
        return cls.model_validate(data, extra="ignore")
