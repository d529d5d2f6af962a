"""`python -m api`: the service on the address and port of the settings."""

import sys

import uvicorn

from cartograph.settings import SettingsError, get_settings


def main() -> None:
    """Serve until interrupted; a wrong setting ends in its message and status 1."""
    try:
        settings = get_settings()
    except SettingsError as error:
        sys.exit(str(error))
    uvicorn.run(
        "api.main:create_app",
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        workers=settings.api_workers,
        log_level=settings.log_level.lower(),
        server_header=False,
    )


if __name__ == "__main__":
    main()
