"""`python -m api`: the service on the address and port of the settings."""

import os
import signal
import sys
from contextlib import nullcontext
from multiprocessing import parent_process
from threading import Thread

import uvicorn
from fastapi import FastAPI

from api.connections import BoundedProtocol
from api.main import create_app
from api.observability import logs
from api.observability.metrics import shared
from cartograph.releases import ReleaseError, open_store
from cartograph.settings import SettingsError, get_settings


def service() -> FastAPI:
    """The service of this process, which logs as the settings say. That of a worker ends with its parent."""
    logs.configure(get_settings())
    Thread(target=end_with_parent, daemon=True).start()
    return create_app()


def end_with_parent() -> None:
    """Wait until the parent of this worker is gone, and end in order; nothing where it has none.

    uvicorn's workers go on without theirs, as after a kill or for want of memory: nobody ends them, and their port
    stays taken.
    """
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve until interrupted; a wrong setting ends in its message and status 1."""
    try:
        settings = get_settings()
        open_store(settings)  # trusted keys that cannot be read would be a traceback out of uvicorn
    except (SettingsError, ReleaseError) as error:
        sys.exit(str(error))
    logs.configure(settings)
    with shared() if settings.api_workers > 1 else nullcontext():
        uvicorn.run(
            "api.__main__:service",
            factory=True,
            host=settings.api_host,
            port=settings.api_port,
            workers=settings.api_workers,
            log_config=None,  # it would take the loggers to itself
            access_log=False,  # it holds paths, and so customers' ids; api.observability.watching has lines of its own
            server_header=False,
            http=BoundedProtocol,
            ws="none",
        )


if __name__ == "__main__":
    main()
