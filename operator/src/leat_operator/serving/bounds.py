"""Bounds on what is asked at once, and errors as the answers that they are."""

import asyncio

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from leat_engine.errors import LeatError
from leat_engine.limits import MIB
from leat_operator.metrics import SERVED
from leat_operator.serving.answers import Answer

log = structlog.get_logger(__name__)

BODY_BYTES = 8 * MIB
"""Of an AdmissionReview: an object and the one before it, each up to the API server's own bound of 3 MiB."""

AT_ONCE, WAITING = 16, 128
SECONDS = 10.0


class Bounds:
    """Lets ``AT_ONCE`` requests in, makes ``WAITING`` wait, and turns the others away, for their time only."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._present = 0

    def middleware(self) -> Middleware:
        """The middleware of the application."""

        @web.middleware
        async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
            route = request.match_info.route.resource.canonical if request.match_info.route.resource else "none"
            try:
                answer = await self._bounded(request, handler)
            except Answer as refused:
                answer = _told(refused)
            SERVED.labels(route, str(answer.status)).inc()
            return answer

        return bounded

    async def _bounded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._present >= AT_ONCE + WAITING:
            raise Answer(429, "too many requests at once", retry_after=1)
        self._present += 1
        try:
            async with asyncio.timeout(SECONDS), self._slots:
                return await handler(request)
        except TimeoutError as error:
            raise Answer(504, f"not answered within {SECONDS:g} s") from error
        except web.HTTPException as error:
            raise Answer(error.status, f"{request.method} {request.path[:200]}: {error.reason}") from error
        except LeatError as error:
            if error.retriable:
                raise Answer(503, str(error), retry_after=1) from error
            raise Answer(500, str(error)) from error
        except Answer:
            raise
        except Exception as error:
            log.exception("request failed", path=request.path)
            raise Answer(500, f"{type(error).__name__}; see the operator's log") from error
        finally:
            self._present -= 1


def _told(refused: Answer) -> web.Response:
    headers = {"Retry-After": str(refused.retry_after)} if refused.retry_after else {}
    body = orjson.dumps(refused.status())
    return web.Response(status=refused.code, body=body, headers=headers, content_type="application/json")
