"""Opens what publishers send: unseal, verify, validate. Nothing here touches the database.

Every fate has a code, and none quotes what was sent: causes are cut off (`from None`), since their texts do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import phonenumbers
from joserfc.jwk import KeySet
from pydantic import ValidationError

from contracts.envelope import header
from contracts.requests import Amendment, GivenIdentifier, SealedMessage, Submission
from contracts.sealing import Key, SealError, open_sealed
from contracts.topics import MessageType
from services.coordinator.placeholders import is_placeholder
from services.coordinator.saga.deadline import receipt_date
from services.coordinator.world import calendar_of
from services.kit.inventory import Inventory
from services.kit.kafka import RawRecord

SIGNED_WITHIN: Final = timedelta(days=7)
"""An older signature is refused, by the broker's time of first receipt: a captured message can't be kept for later."""
CLOCKS_DIFFER: Final = timedelta(hours=1)
"""A signature dated further ahead of the broker's clock would be good for longer than that."""


class Unusable(Exception):
    """A message that can't be acted on. `request_id` is the id it claims, where one can be read."""

    def __init__(self, code: str, request_id: UUID | None, type_: str | None) -> None:
        super().__init__(code)
        self.code = code
        self.request_id = request_id
        self.submission = type_ != MessageType.REQUEST_AMENDED


@dataclass(frozen=True, slots=True)
class OpenedSubmission:
    """A valid submission, its identifiers brought to one form."""

    publisher: str
    submission: Submission
    content: Mapping[str, Any] = field(repr=False)
    """The signed payload without `issued_at`, for recognising it again."""


@dataclass(frozen=True, slots=True)
class OpenedAmendment:
    """A valid amendment."""

    publisher: str
    amendment: Amendment


class Intake:
    """Opens records of the requests topic."""

    def __init__(self, inventory: Inventory, receiving: KeySet, publishers: Mapping[str, tuple[str, Key]]) -> None:
        self._inventory = inventory
        self._receiving = receiving
        self._publishers = publishers

    def open(self, record: RawRecord) -> OpenedSubmission | OpenedAmendment:
        """Raises `Unusable`."""
        type_ = header(record.headers, "ce_type")
        body = _decode(record, type_)
        request_id = claimed_id(record, body)
        try:
            if type_ not in (MessageType.REQUEST_SUBMITTED, MessageType.REQUEST_AMENDED):
                raise SealError("unknown_type")
            sealed = _envelope(body)
            publisher, payload = self._unseal(sealed)
            if type_ == MessageType.REQUEST_AMENDED:
                return self._amendment(sealed, publisher, payload, record)
            return self._submission(sealed, publisher, payload, record)
        except SealError as error:
            raise Unusable(error.code, request_id, type_) from None

    def _unseal(self, sealed: SealedMessage) -> tuple[str, Any]:
        def key_of(kid: str) -> Key | None:
            found = self._publishers.get(kid)
            return found[1] if found else None

        opened = open_sealed(sealed.sealed, self._receiving, key_of)
        return self._publishers[opened.kid][0], opened.payload

    def _submission(self, sealed: SealedMessage, publisher: str, payload: Any, record: RawRecord) -> OpenedSubmission:
        try:
            submission = Submission.model_validate(payload)
        except ValidationError as error:
            raise SealError(_reason(error)) from None
        _check_signed(sealed, submission, record)
        rules = self._inventory.publishers[publisher]
        if submission.controller not in self._inventory.controllers:
            raise SealError("unknown_controller")
        if submission.right not in rules.rights:
            raise SealError("right_not_allowed")
        if submission.controller not in rules.controllers:
            raise SealError("controller_not_allowed")
        if submission.received_on > receipt_date(record.at, calendar_of(self._inventory, submission.controller)):
            raise SealError("received_in_future")
        identifiers = tuple(self._identifier(given) for given in submission.identifiers)
        usable = submission.model_copy(update={"identifiers": identifiers})
        return OpenedSubmission(publisher, usable, submission.content())

    def _amendment(self, sealed: SealedMessage, publisher: str, payload: Any, record: RawRecord) -> OpenedAmendment:
        try:
            amendment = Amendment.model_validate(payload)
        except ValidationError:
            raise SealError("invalid_payload") from None
        _check_signed(sealed, amendment, record)
        if not self._inventory.publishers[publisher].may_amend(amendment.decision):
            raise SealError("amendment_not_allowed")
        return OpenedAmendment(publisher, amendment)

    def _identifier(self, given: GivenIdentifier) -> GivenIdentifier:
        if given.kind not in self._inventory.kinds:
            raise SealError("unknown_kind")
        if given.kind != "phone" or is_placeholder(given.value):
            return given
        try:
            number = phonenumbers.parse(given.value)
        except phonenumbers.NumberParseException:
            raise SealError("malformed_identifier") from None
        e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        return GivenIdentifier(kind=given.kind, value=e164)


def _decode(record: RawRecord, type_: str | None) -> Any:
    try:
        return json.loads(record.value or b"")
    except (ValueError, RecursionError):
        raise Unusable("undecodable", claimed_id(record, None), type_) from None


def _envelope(body: Any) -> SealedMessage:
    if isinstance(body, dict) and body.get("schema_version") != 1:
        raise SealError("unknown_schema_version")
    try:
        return SealedMessage.model_validate(body)
    except ValidationError:
        raise SealError("invalid_envelope") from None


def claimed_id(record: RawRecord, body: Any) -> UUID | None:
    """The request that a record says it is about, in its body or else its key."""
    claimed = body.get("request_id") if isinstance(body, dict) else None
    try:
        return UUID(claimed if isinstance(claimed, str) else (record.key or b"").decode())
    except ValueError:
        return None


def _check_signed(sealed: SealedMessage, payload: Submission | Amendment, record: RawRecord) -> None:
    if payload.request_id != sealed.request_id:
        raise SealError("request_id_mismatch")
    if record.at - payload.issued_at > SIGNED_WITHIN:
        raise SealError("stale_signature")
    if payload.issued_at - record.at > CLOCKS_DIFFER:
        raise SealError("future_signature")


def _reason(error: ValidationError) -> str:
    """The most telling code for an invalid submission."""
    found = error.errors(include_input=False, include_context=False, include_url=False)
    types = {details["loc"]: details["type"] for details in found}
    about = {place: type_ for place, type_ in types.items() if place[:1] == ("identifiers",)}
    if about:
        none = about.keys() == {("identifiers",)} and about["identifiers",] in ("missing", "too_short")
        return "no_identifiers" if none else "malformed_identifier"
    return "unknown_right" if ("right",) in types else "invalid_payload"
