"""The HTTP side: who may ask, how often, and the vendor's way to refuse."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from secrets import compare_digest

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from deploy.simulators.hubspot import associations, objects
from deploy.simulators.hubspot.account import Account
from deploy.simulators.hubspot.disk import Disk
from deploy.simulators.hubspot.errors import VendorError, invalid, unauthorized
from deploy.simulators.hubspot.limits import RateLimits
from deploy.simulators.hubspot.settings import Settings
from services.kit.clock import Clock


def build(settings: Settings, clock: Clock) -> FastAPI:
    """One account behind its endpoints and `GET /healthz`. All state is touched by the event loop alone."""
    app = FastAPI(title="HubSpot simulator", openapi_url=None)
    app.state.account = Account(
        Disk(settings.state), clock, timedelta(seconds=settings.bound_s), timedelta(seconds=settings.index_lag_s)
    )
    limits = RateLimits(settings.requests_per_ten_seconds, settings.requests_per_day, settings.searches_per_second)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path == "/healthz":
            return JSONResponse({"status": "ok"})
        now, search = clock.now(), request.url.path.endswith("/search")
        given, token = request.headers.get("Authorization", ""), settings.token.get_secret_value()
        try:
            if not compare_digest(given.encode(), f"Bearer {token}".encode()):
                raise unauthorized()
            limits.admit(now, search=search)
        except VendorError as error:
            response: Response = _refusal(error)
        else:
            response = await call_next(request)
        if not search:
            response.headers.update(limits.headers(now))
        return response

    @app.exception_handler(VendorError)
    async def refuse(_: Request, error: VendorError) -> Response:
        return _refusal(error)

    @app.exception_handler(RequestValidationError)
    async def refuse_input(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _refusal(invalid(f"Invalid input JSON: {'.'.join(map(str, first['loc']))}: {first['msg']}"))

    app.include_router(objects.router)
    app.include_router(associations.router)
    return app


def _refusal(error: VendorError) -> Response:
    return JSONResponse(error.body(), error.status)
