"""The composition: one HTTPS port with the webhook and the read API, and the round that keeps its certificates."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import structlog
from aiohttp import web
from tenacity import retry, retry_if_exception_type

from leat_engine.errors import LeatError, StoreUnavailable
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store
from leat_operator.announced import INTERVAL
from leat_operator.catalog import Catalog
from leat_operator.cluster import Cluster, RetryAfter
from leat_operator.objects import API_SERVICES, CALLER_REVIEWS, CONFIG_MAPS, SECRETS, VALIDATING_WEBHOOKS, Right
from leat_operator.serving.bounds import BODY_BYTES, VALIDATE, Bounds, bounding
from leat_operator.serving.caller import FrontProxy
from leat_operator.serving.compiler import Compiler
from leat_operator.serving.identity import AUTHENTICATION, Files, Shared, Source, front_proxy, names_of, publish
from leat_operator.serving.read import ReadApi
from leat_operator.serving.tls import Identity, Port
from leat_operator.serving.webhook import Webhook
from leat_operator.settings import Settings

log = structlog.get_logger(__name__)

CONNECTIONS = 2
"""To the store, beside the operator's own: nobody who reads may hold up what runs."""

_PATIENT = retry(retry=retry_if_exception_type(StoreUnavailable), wait=RetryAfter())


class Serving:
    """The port of one replica. ``ready`` from the moment that it listens with a certificate."""

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self._settings = settings
        self._cluster = cluster
        self._port: Port | None = None
        self._source: Source = (
            Files(settings.tls_dir)
            if settings.tls_dir is not None
            else Shared(
                cluster,
                settings.namespace,
                settings.tls_secret,
                names_of(settings.service, settings.namespace, settings.serve_names),
            )
        )

    @property
    def ready(self) -> bool:
        """Whether the API server is answered."""
        return self._port is not None and self._port.listening

    async def run(self) -> None:
        """Serve until cancelled."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            store = await _PATIENT(Store.connect)(settings.database_url.get_secret_value(), size=CONNECTIONS)
            stack.push_async_callback(store.close)
            compiler = stack.enter_context(Compiler(load_models()))
            app = web.Application(client_max_size=BODY_BYTES, middlewares=[bounding(_webhook_bounds(), _read_bounds())])
            app.router.add_get("/healthz", _healthy)
            read_api = ReadApi(self._cluster, store, compiler, settings.watch_namespaces)
            if settings.webhook:
                webhook = Webhook(self._cluster, compiler, settings.watch_namespaces, settings.namespace)
                app.router.add_post(VALIDATE, webhook.validate)
            if settings.read_api:
                app.router.add_routes(read_api.routes())
            self._port = await stack.enter_async_context(Port(app, settings.serve_host, settings.serve_port))
            async with asyncio.TaskGroup() as group:
                group.create_task(_learn(store, compiler))
                while True:
                    await self._look(self._port, read_api)
                    await asyncio.sleep(settings.serve_refresh)

    async def _look(self, port: Port, read_api: ReadApi) -> None:
        """See that the port shows what it is to show, and that the API server trusts it."""
        settings = self._settings
        try:
            certificate = await self._source.certificate()
            if certificate.bundle:  # first: what is not trusted yet is not shown
                await publish(self._cluster, certificate.bundle, settings.webhook, settings.read_api)
            proxy = await front_proxy(self._cluster) if settings.read_api else FrontProxy()
            await port.show(Identity(certificate.chain, certificate.key, proxy.authority))
            read_api.front_proxy = proxy
        except (LeatError, ValueError) as error:  # what was shown goes on being shown
            log.warning("certificate not looked after", error=str(error), listening=port.listening)


async def _learn(store: Store, compiler: Compiler) -> None:
    """Keep up with what pools can do. Beside the requests: an answer at admission must not wait for the store."""
    while True:
        try:
            pools = await store.pools.announced()
            await compiler.call(partial(Catalog.announce, pools=pools))
        except StoreUnavailable as error:
            log.warning("announcements not read", error=str(error))
        await asyncio.sleep(INTERVAL)


def _webhook_bounds() -> Bounds:
    return Bounds(at_once=4, waiting=64, seconds=2.5)  # the API server waits for 3 s, then goes on without an answer


def _read_bounds() -> Bounds:
    return Bounds(at_once=16, waiting=128, seconds=10.0)


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok")


def needed(settings: Settings) -> list[Right]:
    """The rights for serving; none when nothing is served."""
    if not settings.serve_port:
        return []
    rights: list[Right] = []
    if settings.read_api:
        namespace, name = AUTHENTICATION
        rights += [Right("create", CALLER_REVIEWS), Right("get", CONFIG_MAPS, namespace, name=name)]
    if settings.tls_dir is None:
        rights.append(Right("create", SECRETS, settings.namespace))
        rights += [Right(verb, SECRETS, settings.namespace, name=settings.tls_secret) for verb in ("get", "update")]
        for resource, which in ((VALIDATING_WEBHOOKS, settings.webhook), (API_SERVICES, settings.read_api)):
            rights += [Right(verb, resource, name=which) for verb in ("get", "patch") if which]
    return rights
