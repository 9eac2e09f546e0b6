"""Who may do what: a bearer token names a principal, its role and the controllers it acts for."""

import hmac
from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from contracts.requests import DecisionKind, Name
from services.kit.errors import LetheiaError


class Role(StrEnum):
    """What a principal is to the house."""

    DPO = "dpo"
    SRE = "sre"
    AUDITOR = "auditor"
    SYSTEM = "system"


class Deed(StrEnum):
    """What the API lets somebody do."""

    SUBMIT = "submit requests"
    READ = "read requests"
    DECIDE = "decide"
    FETCH_BUNDLE = "fetch bundles"
    READ_DEAD_LETTERS = "read dead letters"


ALLOWED: Final[Mapping[Role, frozenset[Deed]]] = {
    Role.DPO: frozenset(Deed),
    Role.SRE: frozenset({Deed.READ, Deed.DECIDE, Deed.READ_DEAD_LETTERS}),
    Role.AUDITOR: frozenset({Deed.READ, Deed.READ_DEAD_LETTERS}),
    Role.SYSTEM: frozenset({Deed.SUBMIT, Deed.READ, Deed.FETCH_BUNDLE}),  # reads and fetches its own, see `store`
}

DECISIONS: Final[Mapping[Role, frozenset[DecisionKind]]] = {
    Role.DPO: frozenset(DecisionKind),
    Role.SRE: frozenset({DecisionKind.RETRY, DecisionKind.HOLD}),
}
"""Which decisions are whose, of those that a request offers."""


class Principal(BaseModel):
    """Somebody, or some system, that holds a token. Of the token only its digest is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    principal: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    role: Role
    controllers: frozenset[Name]
    token_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

    def may(self, deed: Deed) -> bool:
        """True if the role allows it."""
        return deed in ALLOWED[self.role]


def load_principals(path: Path) -> tuple[Principal, ...]:
    """Everybody who holds a token. Raises `LetheiaError` when the file can't be read or is not such a list."""
    try:
        return TypeAdapter(tuple[Principal, ...]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        what = error.strerror if isinstance(error, OSError) else f"{error.error_count()} errors"
        raise LetheiaError(
            f"token file {path} can't be used ({what}): put a list of principal, role, controllers, token_sha256 there"
        ) from None


def whose(token: str, principals: Sequence[Principal]) -> Principal | None:
    """The holder of a token. Compares with every digest in constant time, so that time tells nothing."""
    digest = sha256(token.encode()).hexdigest()
    found = None
    for principal in principals:
        if hmac.compare_digest(principal.token_sha256, digest):
            found = principal
    return found
