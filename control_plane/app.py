"""How is the control plane put together?

FastAPI with the routes of `routes/`, problem documents for every error, and an accurate OpenAPI page. Knows no adapter:
an `Office` is handed in.

Rules
1. Every answer has ``X-Request-Id`` and ``Server-Timing``, a 404 and a 500 too. Nothing of `/v1` may be cached.
2. Every operation has its own id, its models and its error answers in `/openapi.json`; a test holds them together.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane import problems
from control_plane.office import Changes, Office
from control_plane.push import Pushing
from control_plane.routes import (
    certificates,
    data,
    deployments,
    environment,
    functions,
    health,
    keys,
    logs,
    pushes,
    versions,
)
from control_plane.routes.scheduling import crons, schedules
from control_plane.routes.storage import files
from runtime.names import RequestIds
from runtime.ports import Clock

# Every room of the control plane.
ROOMS: Sequence[ModuleType] = (
    health,
    certificates,
    deployments,
    pushes,
    versions,
    environment,
    keys,
    functions,
    schedules,
    crons,
    files,
    logs,
    data,
)


def create_app(office: Office, rooms: Sequence[ModuleType] = ROOMS) -> FastAPI:
    """The control plane as an ASGI application, or only some ``rooms`` of it."""
    app = FastAPI(
        title="Warren control plane",
        description="Deployments, pushes, versions, environment, keys and logs. Errors are RFC 9457 documents.",
        version=office.version,
        docs_url=None,  # their pages would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect would lose the body of a push
        generate_unique_id_function=_operation_id,
    )
    app.state.office = office
    app.state.changes = Changes(office.changed)
    app.state.pushing = Pushing(office, app.state.changes)
    app.state.misses = certificates.Misses()
    for room in rooms:
        app.include_router(room.router)
    problems.install(app)
    app.add_middleware(Reception, clock=office.clock)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


class Reception:
    """Gives each request its id, each answer its headers, and each accident an answer."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, request_id, answered = self._clock.monotonic(), self._ids.next(), False
        scope.setdefault("state", {})["request_id"] = request_id

        async def attend(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["server-timing"] = f"handler;dur={(self._clock.monotonic() - begun) * 1000:.1f}"
                headers["x-content-type-options"] = "nosniff"
                if scope["path"].startswith("/v1/"):
                    headers["cache-control"] = "no-store"
            await send(message)

        try:
            await self._app(scope, receive, attend)
        except Exception as error:
            if answered:
                raise  # the server cuts the connection, so that the client can tell
            await problems.answer(error, request_id)(scope, receive, attend)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for path in schema["paths"].values():
            for operation in path.values():
                for status, response in operation["responses"].items():
                    if status >= "400" and "content" in response:
                        response["content"] = {problems.MEDIA_TYPE: response["content"].popitem()[1]}
        app.openapi_schema = schema
    return app.openapi_schema
