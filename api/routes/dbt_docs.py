"""The site of dbt's documentation, for the people at this machine: no part of what the service answers."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from api.problems import ProblemError

# The site is one file with its scripts and styles in it: nothing may be loaded or sent from there.
_ALONE = "; ".join(
    [
        "default-src 'none'",
        "script-src 'unsafe-inline' 'unsafe-eval'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "font-src data:",
    ]
)


def router_of(site: Path) -> APIRouter:
    """The route to `site`, which need not be built yet."""
    router = APIRouter(include_in_schema=False)

    @router.get("/dbt-docs")
    async def dbt_docs() -> FileResponse:
        """The site, as `cartograph docs` built it last."""
        if not site.is_file():
            raise ProblemError(404, "no-dbt-docs", "The site is not built yet. `cartograph docs` builds it.")
        return FileResponse(site, media_type="text/html", headers={"Content-Security-Policy": _ALONE})

    return router
