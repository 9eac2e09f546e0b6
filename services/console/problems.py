"""Refusals as `application/problem+json` (RFC 9457). None echoes what was sent: it may be an identifier, or a token."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from services.kit.objects import ObjectsError
from services.kit.postgres import UNREACHABLE
from services.kit.telemetry import log

MEDIA_TYPE: Final = "application/problem+json"

_REASONS: Final = {"missing": "required", "extra_forbidden": "holds a field that is not known here"}
_OURS: Final = ("expected", "pattern", "min_length", "max_length", "ge", "le")
"""What validation errors say of the rule; everything else in them may quote the value."""


class Problem(HTTPException):
    """An answer that says no. `code` is stable; `detail` is a sentence: what, and what to do."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.extra = extra


def invalid(errors: Sequence[tuple[str, str]]) -> Problem:
    """422, from pairs of field and reason."""
    shown = [{"field": field, "reason": reason} for field, reason in errors]
    return Problem(422, "invalid", "Some fields can't be used; `errors` names them.", errors=shown)


def response(problem: HTTPException) -> JSONResponse:
    """Any refusal as its document."""
    status = HTTPStatus(problem.status_code)
    body: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status.value}
    if isinstance(problem, Problem):
        body |= {"type": f"urn:letheia:problem:{problem.code}", "detail": problem.detail, **problem.extra}
    return JSONResponse(body, status.value, problem.headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every failure of `app` so."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return response(error)

    async def not_valid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return response(invalid([_field_and_reason(each) for each in error.errors()]))

    async def away(_: Request, error: Exception) -> JSONResponse:
        log("database_unreachable", error=error)
        retry = {"Retry-After": "5"}
        return response(Problem(503, "unreachable", "The database can't be reached: try again shortly.", retry))

    async def no_storage(_: Request, error: Exception) -> JSONResponse:
        log("storage_failed", error=error)
        return response(Problem(503, "storage", "The bundles' storage gives nothing: the log says why."))

    async def broken(_: Request, error: Exception) -> JSONResponse:
        return response(Problem(500, "internal", "Letheia failed at this: its log names the error's class and place."))

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, not_valid)
    app.add_exception_handler(ObjectsError, no_storage)
    for error in UNREACHABLE:
        app.add_exception_handler(error, away)
    app.add_exception_handler(Exception, broken)


def _field_and_reason(error: Mapping[str, Any]) -> tuple[str, str]:
    where = [str(part) for part in error["loc"][1:] if part not in ("sealed_message", "plain")]
    if error["type"] == "extra_forbidden":
        where.pop()  # the sender's own word
    if error["type"] == "json_invalid":
        where.clear()
    rule = ", ".join(f"{name} {value}" for name, value in error.get("ctx", {}).items() if name in _OURS)
    reason = _REASONS.get(error["type"], error["type"])
    return ".".join(where) or error["loc"][0], f"{reason} ({rule})" if rule else reason
