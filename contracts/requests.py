"""What a publisher says: a request, and later amendments to it.

On the bus both travel as `SealedMessage`; inside the seal is the signed payload (`sealing`).
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from contracts.base import Instant, Message

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,62}$")]
"""A name the inventory declares: of a store, a kind, a category, a controller, a publisher."""

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""A reason from a list; never free text, which could hold a name."""


class Right(StrEnum):
    """The data subject's right that a request exercises (GDPR Art. 17, Art. 20)."""

    ERASURE = "erasure"
    PORTABILITY = "portability"


class SealedMessage(Message):
    """`RequestSubmitted` and `RequestAmended` as they lie on the bus: nothing but the id can be read."""

    schema_version: Literal[1]
    request_id: UUID
    sealed: Annotated[str, StringConstraints(min_length=1, max_length=1_000_000)]
    """Compact JWE (ECDH-ES+A256KW, A256GCM) around the publisher's compact JWS."""


class GivenIdentifier(Message):
    """One identifier the publisher vouches for. Its value never appears in `repr`, so no log or error shows it."""

    kind: Name
    value: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=512)] = Field(repr=False)


class Identity(Message):
    """How the publisher made sure who asks (GDPR Art. 12(6))."""

    verified: bool
    method: Code | None = None


class Submission(Message):
    """The signed payload of `RequestSubmitted`."""

    request_id: UUID
    right: Right
    controller: Name
    received_on: date
    """The day the person's request reached the controller, in the controller's local time."""
    issued_at: Instant
    identity: Identity
    export_first: bool = False
    """An erasure that first writes the portable copy."""
    identifiers: Annotated[tuple[GivenIdentifier, ...], Field(min_length=1, max_length=100)]

    def content(self) -> dict[str, Any]:
        """What makes it the same request when it comes again: everything but when it was issued."""
        return self.model_dump(mode="json", exclude={"issued_at"})


class DecisionKind(StrEnum):
    """What a person may decide. INTERFACE says which of them each attention code offers."""

    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    RETRY = "retry"
    RECORD = "record"
    ACCEPT = "accept"
    EXTEND = "extend"
    HOLD = "hold"
    RELEASE = "release"
    VERIFY_IDENTITY = "verify-identity"
    ASK_IDENTITY = "ask-identity"
    INFORM = "inform"
    RELEASE_BUNDLE = "release-bundle"


class Amendment(Message):
    """The signed payload of `RequestAmended`: one decision about a request, applied once by its `decision_id`."""

    request_id: UUID
    decision_id: UUID
    decision: DecisionKind
    reason: Code
    decided_by: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    issued_at: Instant
    store: Name | None = None
    category: Name | None = None
    basis: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """The legal ground of an `accept` (`record`: where the evidence lies)."""
    until: date | None = None
    on: date | None = None
    """When it happened, for `inform`, `extend` and `ask-identity`; today where it is missing."""
    method: Code | None = None
    note: Annotated[str, StringConstraints(max_length=4000)] | None = Field(default=None, repr=False)
