"""One event as a line of a segment: the CRC-32 of its JSON in eight hexadecimal digits, a blank, the JSON, a line feed.

Lines, not lengths: behind a damaged one the next is found again, so that damage costs no more than what it hit; and a
line without its end is what a process left that was killed while it wrote.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import orjson

Event = Mapping[str, str]
"""The columns of one event that have a value, as text; times in UTC as ISO 8601 writes them."""
_CRC_DIGITS = 8


def framed(event: Event) -> bytes:
    """The line of an event. JSON has no raw line feed, so a line is one event whatever its texts are."""
    content = orjson.dumps(event)
    return b"%08x %s\n" % (zlib.crc32(content), content)


def unframed(line: bytes) -> Event | None:
    """The event of a line without its line feed; None where it is damaged."""
    crc, blank, content = line[:_CRC_DIGITS], line[_CRC_DIGITS : _CRC_DIGITS + 1], line[_CRC_DIGITS + 1 :]
    if blank != b" " or crc != b"%08x" % zlib.crc32(content):
        return None
    event: Event = orjson.loads(content)
    return event
