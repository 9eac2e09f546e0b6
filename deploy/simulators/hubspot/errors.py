"""How the vendor says no ("Error handling", "API usage guidelines")."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4


class VendorError(Exception):
    """A refusal, with the HTTP status and the fields of its body."""

    def __init__(self, status: int, category: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self._fields = {"status": "error", "message": message, "category": category, **fields}

    def body(self) -> Mapping[str, Any]:
        """The JSON body; `correlationId` is new each time."""
        return {**self._fields, "correlationId": str(uuid4())}


def invalid(message: str, code: str | None = None) -> VendorError:
    """The request is wrong in itself."""
    details = [{"message": message, "code": code}] if code else []
    return VendorError(400, "VALIDATION_ERROR", message, errors=details)


def not_found() -> VendorError:
    """No such object, or none any more."""
    return VendorError(404, "OBJECT_NOT_FOUND", "resource not found")


def conflict(existing: str) -> VendorError:
    """The address belongs to another contact."""
    return VendorError(409, "CONFLICT", f"Contact already exists. Existing ID: {existing}")


def unauthorized() -> VendorError:
    """No token, or a wrong one."""
    message = (
        "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more "
        "details at https://developers.hubspot.com/docs/methods/auth/oauth-overview"
    )
    return VendorError(401, "INVALID_AUTHENTICATION", message)


def rate_limited(policy: str) -> VendorError:
    """Too many requests; `policy` is DAILY, TEN_SECONDLY_ROLLING or, for searches, SECONDLY."""
    message = f"You have reached your {policy.lower()} limit."
    return VendorError(429, "RATE_LIMITS", message, errorType="RATE_LIMIT", policyName=policy, requestId=str(uuid4()))


def missing_from_batch(kind: str, ids: list[str]) -> Mapping[str, Any]:
    """One entry of a 207's `errors`: what a batch read did not find."""
    message = f"Could not get some {kind} objects, they may be deleted or not exist. Check that ids are valid."
    return _entry(message, {"ids": ids})


def no_associations(from_kind: str, id_: str, to_kind: str) -> Mapping[str, Any]:
    """One entry of a 207's `errors`: the vendor counts 'none' as an error here."""
    context = {"fromObjectId": [id_], "fromObjectType": [from_kind], "toObjectType": [to_kind]}
    message = f"No {to_kind} is associated with {from_kind} {id_}."
    return _entry(message, context) | {"subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}


def _entry(message: str, context: Mapping[str, list[str]]) -> dict[str, Any]:
    shape: dict[str, Any] = {"status": "error", "category": "OBJECT_NOT_FOUND", "errors": [], "links": {}}
    return {**shape, "message": message, "context": context}
