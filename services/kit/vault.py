"""Who a request is about: keys, the permit, and identifiers sealed under the subject key (DESIGN §4).

Every function works inside the caller's transaction. Identifiers leave this module only as `VaultIdentifier`, whose
value no `repr` shows.
"""

import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from joserfc.jwk import OctKey

from contracts.sealing import derive, open_direct, seal_direct
from contracts.tasks import Action
from services.kit.keys import Keyring
from services.kit.postgres import Connection

_VALUES_A_ROW: Final = 500
"""Record ids sealed together; a person has few other identifiers and many calls."""


@dataclass(frozen=True, slots=True)
class Permit:
    """What is allowed now for one request."""

    request_id: UUID
    controller: str
    round: int | None
    action: str | None


@dataclass(frozen=True, slots=True)
class VaultIdentifier:
    """One identifier as the vault keeps it."""

    kind: str
    value: str = field(repr=False)
    standing: str
    found_by: str
    alone: bool | None = None
    contested: str | None = None


class Vault:
    """The vault, as one service with one keyring sees it."""

    def __init__(self, keyring: Keyring, person_kinds: frozenset[str], record_kinds: frozenset[str]) -> None:
        self._keyring = keyring
        self._person_kinds = person_kinds
        self._record_kinds = record_kinds

    async def create(self, db: Connection, request_id: UUID, controller: str) -> OctKey:
        """Make the subject key and an empty permit."""
        key = await self.create_key(db, request_id, "subject")
        await db.execute("INSERT INTO vault.permits (request_id, controller) VALUES ($1, $2)", request_id, controller)
        return key

    async def create_key(
        self, db: Connection, request_id: UUID, purpose: str, ends_on: datetime | None = None
    ) -> OctKey:
        """A key for one purpose; the one that exists if there is one."""
        key = OctKey.generate_key(256)
        wrapped, epoch = self._keyring.wrap(key)
        inserted = await db.fetchval(
            "INSERT INTO vault.keys (request_id, purpose, wrapped, epoch, ends_on) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT DO NOTHING RETURNING true",
            request_id, purpose, wrapped, epoch, ends_on,
        )  # fmt: skip
        if inserted:
            return key
        return (await self.keys(db, [request_id], purpose))[request_id]

    async def keys(self, db: Connection, request_ids: Iterable[UUID], purpose: str = "subject") -> dict[UUID, OctKey]:
        """The keys that still exist."""
        rows = await db.fetch(
            "SELECT request_id, wrapped, epoch FROM vault.keys WHERE request_id = ANY($1) AND purpose = $2",
            list(request_ids), purpose,
        )  # fmt: skip
        return {row["request_id"]: self._keyring.unwrap(row["wrapped"], row["epoch"]) for row in rows}

    async def permits(self, db: Connection, request_ids: Iterable[UUID]) -> dict[UUID, Permit]:
        """What is allowed now; a request without a row is closed or was never ours."""
        rows = await db.fetch(
            "SELECT request_id, controller, round, action FROM vault.permits WHERE request_id = ANY($1)",
            list(request_ids),
        )
        return {row["request_id"]: Permit(*row) for row in rows}

    async def permit(self, db: Connection, request_id: UUID, round_: int | None, action: Action | None) -> None:
        """Allow one round and action, or nothing."""
        await db.execute(
            "UPDATE vault.permits SET round = $2, action = $3 WHERE request_id = $1", request_id, round_, action
        )

    async def identifiers(self, db: Connection, keys: dict[UUID, OctKey]) -> dict[UUID, list[VaultIdentifier]]:
        """Everything known of these requests' subjects, opened."""
        rows = await db.fetch(
            "SELECT request_id, kind, standing, found_by, alone, contested, sealed FROM vault.identifiers"
            " WHERE request_id = ANY($1) ORDER BY id",
            list(keys),
        )
        known: dict[UUID, list[VaultIdentifier]] = {request_id: [] for request_id in keys}
        for row in rows:
            values = json.loads(open_direct(row["sealed"], keys[row["request_id"]]))
            known[row["request_id"]] += [VaultIdentifier(row["kind"], value, *row[2:6]) for value in values]
        return known

    async def add(
        self, db: Connection, request_id: UUID, controller: str, key: OctKey, new: Sequence[VaultIdentifier]
    ) -> None:
        """Keep identifiers. One that is known keeps its standing; `alone` and `contested` are brought up to date.

        A tie to others (`alone` False) is never taken back by another store that knows of one person only.
        """
        mac_key = derive(key, "identifier")
        rows = []
        for kind, values, like in _packed(new, self._record_kinds):
            body = json.dumps(values).encode()
            hashed = self._keyring.person_hash(controller, kind, values[0]) if kind in self._person_kinds else None
            rows.append(
                (request_id, kind, like.standing, like.found_by, like.alone, like.contested,
                 hmac.digest(mac_key, kind.encode() + b"\x00" + body, "sha256"), hashed, seal_direct(body, key))
            )  # fmt: skip
        await db.executemany(
            "INSERT INTO vault.identifiers AS known"
            " (request_id, kind, standing, found_by, alone, contested, digest, person_hash, sealed)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (request_id, kind, digest) DO UPDATE SET"
            " alone = CASE WHEN known.alone = false OR excluded.alone = false THEN false"
            "              ELSE coalesce(excluded.alone, known.alone) END,"
            " contested = coalesce(excluded.contested, known.contested)",
            rows,
        )

    async def settle(self, db: Connection, request_id: UUID, code: str, standing: str) -> None:
        """A person has judged the identifiers contested for `code`."""
        await db.execute(
            "UPDATE vault.identifiers SET standing = $3, contested = NULL WHERE request_id = $1 AND contested = $2",
            request_id, code, standing,
        )  # fmt: skip

    async def uncontest(self, db: Connection, request_id: UUID) -> None:
        """Forget what was contested before a new discovery, which will say again what is."""
        await db.execute(
            "UPDATE vault.identifiers SET contested = NULL WHERE request_id = $1"
            " AND contested IN ('shared_identifier', 'not_one_person')",
            request_id,
        )

    async def destroy_key(self, db: Connection, request_id: UUID, purpose: str) -> None:
        """End one key: what lies under it can't be read again."""
        await db.execute("DELETE FROM vault.keys WHERE request_id = $1 AND purpose = $2", request_id, purpose)

    async def lock(self, db: Connection, request_ids: Iterable[UUID]) -> None:
        """Until the transaction ends, nobody else adds to what is known of these subjects, nor forgets them.

        For whoever counts what is new: two stores that learn the same at once must not both call it new.
        """
        await db.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('vault/' || id, 0)) FROM unnest($1::text[]) AS id",
            sorted({str(request_id) for request_id in request_ids}),
        )

    async def destroy(self, db: Connection, request_id: UUID) -> None:
        """Forget the subject: identifiers, permit and subject key go; keys for other purposes have their own end."""
        await self.lock(db, [request_id])
        await db.execute("DELETE FROM vault.identifiers WHERE request_id = $1", request_id)
        await db.execute("DELETE FROM vault.permits WHERE request_id = $1", request_id)
        await self.destroy_key(db, request_id, "subject")


def _packed(
    new: Sequence[VaultIdentifier], record_kinds: frozenset[str]
) -> Iterable[tuple[str, list[str], VaultIdentifier]]:
    """One row for each identifier of a person or shared kind; record ids many a row, where all are in one case."""
    records: dict[tuple[str, str, str | None], list[VaultIdentifier]] = {}
    for identifier in new:
        if identifier.kind in record_kinds:
            case = identifier.kind, identifier.standing, identifier.contested
            records.setdefault(case, []).append(identifier)
        else:
            yield identifier.kind, [identifier.value], identifier
    for (kind, _, _), group in records.items():
        for start in range(0, len(group), _VALUES_A_ROW):
            chunk = group[start : start + _VALUES_A_ROW]
            yield kind, sorted(i.value for i in chunk), chunk[0]
