"""SQL text that is put together from names and constants; values of rows are passed as parameters."""

from collections.abc import Mapping

from cartograph.windows import Grain

_UNITS: Mapping[Grain, str] = {"daily": "day", "weekly": "week", "monthly": "month"}


def identifier(name: str) -> str:
    """`name` quoted as an SQL identifier."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def literal(text: str) -> str:
    """`text` quoted as an SQL string."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def window_start(moment: str, grain: Grain) -> str:
    """The start of the window that holds a row, by the name of its time."""
    return f"date_trunc('{_UNITS[grain]}', CAST({moment} AS TIMESTAMPTZ))"


def window_end(moment: str, grain: Grain) -> str:
    """The end of the window that holds a row."""
    return f"{window_start(moment, grain)} + INTERVAL 1 {_UNITS[grain]}"
