"""The application: puts routes, problems and middleware together, and follows the current release while it lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline

from api import guard, problems
from api.answers import Compressed, Head
from api.guard import Guard
from api.lane import Lane
from api.middleware import SecurityHeaders
from api.observability.tracing import Tracing, exporting
from api.observability.watching import Watching
from api.rehearsal import Rehearsal
from api.routes import (
    admin,
    causal,
    customers,
    dbt_docs,
    events,
    experiments,
    explanations,
    health,
    kpis,
    lineage,
    metrics,
    models,
    orders,
    predictions,
    products,
    recommendations,
    release,
)
from api.services.access import LAPTOP, Access, now_utc
from api.services.event_log import NoEventLogError, open_event_log
from api.services.examples import with_examples
from api.services.online import NothingOnline, OnlineState
from api.services.prediction_log import PredictionLog, Unlogged
from api.services.refusals import Refusals, ReleaseAlerts
from api.services.release import LoadedRelease
from api.services.serving import POLL_SECONDS, Serving
from cartograph.releases import ReleaseStore, open_store
from cartograph.settings import Settings, get_settings

ANSWERING = (
    *(predictions, customers, explanations, recommendations, products, orders),
    *(release, kpis, models, causal, experiments, lineage),
)
"""The routes that answer from a release: those that golden requests may ask."""
ROUTES = (*ANSWERING, events, health, metrics, admin)
"""In the order of how often they are asked for; each becomes a plain route of the application: FastAPI looks for the
route of an included router twice, which with ten routers takes longer than a prediction."""


def create_app(
    settings: Settings | None = None,
    *,
    poll_seconds: float = POLL_SECONDS,
    clock: Callable[[], datetime] = now_utc,
) -> FastAPI:
    """The service of the shop that the settings choose. It starts without a release, and then waits for one.

    `clock` tells which moments of requests are still to come.

    Raises:
        SettingsError: the settings name a place for releases that there cannot be, or a collector of traces, and what
            sends them is not installed.
    """
    chosen = settings or get_settings()
    store, access, tracing = open_store(chosen), Access(chosen), exporting(chosen)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.access = access
        app.state.clock = clock
        async with AsyncExitStack() as work:
            if tracing is not None:
                work.push_async_callback(asyncio.to_thread, tracing.shutdown)
            await work.enter_async_context(access.kept())
            await work.enter_async_context(logging_predictions(app, chosen))
            await work.enter_async_context(keeping_state(app, chosen))
            await work.enter_async_context(taking_events(app, chosen))
            await work.enter_async_context(following(app, chosen, store, poll_seconds))
            yield

    app = FastAPIOffline(
        title="Cartograph",
        summary="Customers, products, predictions, causal effects and experiments of one released state of a shop.",
        version=health.VERSION,
        lifespan=lifespan,
        redirect_slashes=False,  # it would lead to whatever host the request names
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it would tell paths, and so customers' ids
    )
    problems.install(app)
    app.add_middleware(Lane)  # innermost: all that is asked of a request is asked before
    app.add_middleware(Guard, settings=chosen, access=access)
    if chosen.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=chosen.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match", "X-API-Key", "X-Request-ID"],
            expose_headers=["ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(SecurityHeaders, https_only=chosen.env != "local")
    app.add_middleware(Compressed)
    app.add_middleware(Head)  # outside, so that the headers are those of a compressed answer, too
    if tracing is not None:
        app.add_middleware(Tracing, provider=tracing)
    app.add_middleware(Watching)  # the last is the outermost: it times all others
    # Ahead of the document's and its pages' routes, which come with the application.
    app.router.routes[:0] = [route for module in ROUTES for route in module.router.routes]
    if chosen.env == "local":  # elsewhere the service is reached by others, and the state is on another machine
        app.include_router(dbt_docs.router_of(chosen.dbt_docs_path))
    for route in app.routes:
        if isinstance(route, APIRoute):
            route.operation_id = route.name  # what a generated client calls it
    document = guard.documented(problems.with_problem_media_type(app.openapi()))

    def openapi() -> dict[str, Any]:
        """The document, with examples that the release answers which is served, once there is one."""
        serving: Serving | None = getattr(app.state, "serving", None)
        release = serving.state.release if serving else None
        return with_examples(document, release) if release else document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def following(app: FastAPI, settings: Settings, store: ReleaseStore, poll_seconds: float) -> AsyncIterator[None]:
    """Serve the current release, and each that takes its place, once it has answered its golden requests."""
    refusals = Refusals(settings.refused_releases_path, judge=f"{health.VERSION} {store.trusted_ids}")
    rehearsal = Rehearsal(
        (module.router for module in ANSWERING),
        app.state,
        instead={"predictions": Unlogged(), "online": NothingOnline()},
        caller={"principal": LAPTOP},
    )

    def prepare(release: LoadedRelease) -> None:
        if release.orders is not None:
            app.state.online.prepare(release.orders)

    serving = Serving(store, refusals, ReleaseAlerts(settings), rehearsal, prepare, poll_seconds)
    app.state.serving = serving
    await asyncio.to_thread(serving.refresh)
    watcher = asyncio.create_task(serving.watch())
    yield
    watcher.cancel()
    with suppress(asyncio.CancelledError):
        await watcher


@asynccontextmanager
async def logging_predictions(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Have the application's log of predictions at work."""
    log = PredictionLog(settings.prediction_log_dir, settings.prediction_log_share)
    app.state.predictions = log
    log.start()
    yield
    await asyncio.to_thread(log.close)


@asynccontextmanager
async def keeping_state(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Have the application know what it is told of visitors and orders, in whichever process, and was told before."""
    state = OnlineState(settings.online_path, settings.events_dir)
    app.state.online = state
    await state.learn()
    watcher = asyncio.create_task(state.watch())
    yield
    watcher.cancel()
    with suppress(asyncio.CancelledError):
        await watcher
    state.close()


@asynccontextmanager
async def taking_events(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Have the application's event log at work; without one, have it know why."""
    try:
        log = open_event_log(settings, app.state.online)
    except NoEventLogError as why:
        app.state.event_log = why
        yield
        return
    app.state.event_log = log
    async with log.running():
        yield
