"""Puts the API together: routes, the gate before them, health and the key set beside them."""

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from services.console import api, problems
from services.console.gate import Authentication, BodyLimit


def build_app(console: api.Console) -> FastAPI:
    """The ASGI application. Connects to nothing by itself."""
    # The documents FastAPI would serve by itself answer without a token; ours is below.
    app = FastAPI(title="Letheia", version="1", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.console = console
    problems.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(Authentication, principals=console.principals)
    # For the document: the gate has checked the token already.
    app.include_router(api.router, dependencies=[Depends(HTTPBearer(auto_error=False))])
    _beside(app, console)
    return app


def _beside(app: FastAPI, console: api.Console) -> None:
    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        return app.openapi()

    @app.get("/.well-known/jwks.json", include_in_schema=False)
    async def jwks() -> dict[str, Any]:
        return console.jwks

    @app.get("/livez", include_in_schema=False)
    async def livez() -> dict[str, bool]:
        return {"live": True}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        missing = await console.store.missing()
        return JSONResponse({"ready": not missing, "missing": missing}, 503 if missing else 200)
