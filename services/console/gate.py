"""What every call passes first: a token, and a bound on its body."""

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.console.access import Principal, whose
from services.console.problems import Problem, response

OPEN_PATHS: Final = frozenset({"/.well-known/jwks.json", "/livez", "/readyz"})
"""Nothing else answers without a token, not even that a path does not exist."""

MAX_BODY: Final = 1024 * 1024
"""Bytes. A sealed request of a hundred identifiers takes a tenth of it, and Kafka's records end there too."""


class Authentication:
    """Puts the token's `Principal` into `request.state.principal`, or answers 401 before anything is read."""

    def __init__(self, app: ASGIApp, principals: Sequence[Principal]) -> None:
        self._app = app
        self._principals = principals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
            principal = whose(token.strip(), self._principals) if scheme.lower() == "bearer" else None
            if principal is None:
                challenge = {"WWW-Authenticate": 'Bearer realm="letheia"'}
                problem = Problem(401, "unauthorized", "Send a bearer token that Letheia knows.", challenge)
                await response(problem)(scope, receive, send)
                return
            scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses a body of more than `MAX_BODY` bytes with 413, whether its length was announced or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_BODY:
                raise Problem(413, "too_large", f"A body may hold {MAX_BODY} bytes.")
            return message

        await self._app(scope, counted, send)
