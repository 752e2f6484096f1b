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

VALIDATE = "/validate"

BODY_BYTES = 4 * MIB
"""Of an AdmissionReview: an object and the one before it, each of which has to fit into etcd's 1.5 MiB."""


class Bounds:
    """Lets ``at_once`` requests in, makes ``waiting`` wait, and turns the others away; each has so many seconds."""

    def __init__(self, *, at_once: int, waiting: int, seconds: float) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._seconds = seconds
        self._present = 0

    async def let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request.

        Raises:
            Answer: It was not let in, or it went wrong.
        """
        if self._present >= self._most:
            raise Answer(429, "too many requests at once", retry_after=1)
        self._present += 1
        try:
            async with asyncio.timeout(self._seconds), self._slots:
                return await handler(request)
        except TimeoutError as error:
            raise Answer(504, f"not answered within {self._seconds:g} s") from error
        except web.HTTPException as error:
            raise Answer(error.status, f"{request.method} {request.path[:200]}: {error.reason}") from error
        except LeatError as error:
            log.warning("request not answered", path=request.path, error=str(error))  # it may name hosts
            if error.retriable:
                raise Answer(503, "the store or the API server does not answer; try again", retry_after=1) from error
            raise Answer(500, f"{type(error).__name__}; see the operator's log") from error
        except Answer:
            raise
        except Exception as error:
            log.exception("request failed", path=request.path)
            raise Answer(500, f"{type(error).__name__}; see the operator's log") from error
        finally:
            self._present -= 1


def bounding(webhook: Bounds, others: Bounds) -> Middleware:
    """The middleware: who reads a lot must not keep the API server waiting for its answer at admission."""

    @web.middleware
    async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "none"
        try:
            answer = await (webhook if route == VALIDATE else others).let_in(request, handler)
        except Answer as refused:
            answer = _told(refused)
        SERVED.labels(route, str(answer.status)).inc()
        return answer

    return bounded


def _told(refused: Answer) -> web.Response:
    headers = {"Retry-After": str(refused.retry_after)} if refused.retry_after else {}
    body = orjson.dumps(refused.status())
    return web.Response(status=refused.code, body=body, headers=headers, content_type="application/json")
