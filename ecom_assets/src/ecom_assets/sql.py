"""Quoting for SQL text that is put together from names and constants; values of rows are passed as parameters."""


def identifier(name: str) -> str:
    """`name` quoted as an SQL identifier."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def literal(text: str) -> str:
    """`text` quoted as an SQL string."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
