"""The application: puts routes, problems and middleware together, and follows the current release while it lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import problems
from api.answers import Compressed, Head
from api.lane import Lane
from api.middleware import BodyLimit, SecurityHeaders
from api.routes import (
    causal,
    customers,
    dbt_docs,
    experiments,
    health,
    kpis,
    lineage,
    models,
    predictions,
    products,
    recommendations,
    release,
)
from api.services.serving import POLL_SECONDS, Serving
from cartograph.releases import open_store
from cartograph.settings import Settings, get_settings


def create_app(settings: Settings | None = None, *, poll_seconds: float = POLL_SECONDS) -> FastAPI:
    """The service of the shop that the settings choose. It starts without a release, and then waits for one.

    Raises:
        SettingsError: the settings name a place for releases that there cannot be.
    """
    chosen = settings or get_settings()
    store = open_store(chosen)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        serving = Serving(store, poll_seconds)
        app.state.serving = serving
        await asyncio.to_thread(serving.refresh)
        watcher = asyncio.create_task(serving.watch())
        yield
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher

    app = FastAPIOffline(
        title="Cartograph",
        summary="Customers, products, predictions, causal effects and experiments of one released state of a shop.",
        version=health.VERSION,
        lifespan=lifespan,
    )
    problems.install(app)
    app.add_middleware(Lane)  # innermost: all that is asked of a request is asked before
    app.add_middleware(BodyLimit)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Compressed)
    app.add_middleware(Head)  # outermost, so that the headers are those of a compressed answer, too
    for module in (
        *(health, release, customers, products, predictions, recommendations),
        *(kpis, models, causal, experiments, lineage),
    ):
        app.include_router(module.router)
    if chosen.env == "local":  # elsewhere the service is reached by others, and the state is on another machine
        app.include_router(dbt_docs.router_of(chosen.dbt_docs_path))
    app.openapi_schema = problems.with_problem_media_type(app.openapi())
    return app
