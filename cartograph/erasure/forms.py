"""How a value looks after it was written down: as it is, or escaped in JSON, a URL, HTML, CSV or Python, however often.

One regular expression for all of these, since a log holds JSON that holds JSON. Which values are looked for, and what
must stand around them, is `scan`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from html.entities import codepoint2name

NEVER_ESCAPED = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~")
"""The characters that stay what they are in a URL (RFC 3986), and in all else."""
BEFORE = r"(?:^|[^0-9A-Za-z]|\\(?:[bfnrt]|x[0-9a-f]{2}|u[0-9a-f]{4})|%(?:25)*[0-9a-f]{2})"
"""What stands before a value that is no part of a longer one: nothing, or no letter or digit, escaped or not."""
AFTER = "(?:[^0-9A-Za-z]|$)"
_NAMED = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r"}


def any_of(texts: Collection[str]) -> str:
    """A regular expression, for Python and RE2, that finds any of `texts` in each form; empty for none.

    Its letters are in lower case; it finds a text in any case where letters are compared without it.
    """
    return f"(?:{'|'.join(form(text) for text in sorted(texts))})" if texts else ""


def form(text: str) -> str:
    """The regular expression of one text."""
    return "".join(_literal(c.lower()) if c in NEVER_ESCAPED else _escaped(c) for c in text)


def near(text: str) -> tuple[list[bytes], re.Pattern[bytes]]:
    """What is looked for first, in bytes in lower case: the parts of `text` that no form changes, and its forms.

    From the first such part on: an expression that begins with letters is found several times as fast.
    """
    parts = re.findall(f"[{re.escape(''.join(sorted(NEVER_ESCAPED)))}]+", text)
    begin = text.index(parts[0]) if parts else 0
    return [part.lower().encode() for part in parts], re.compile(form(text[begin:]).encode())


def _escaped(character: str) -> str:
    """All forms of a character. Bytes know no case but that of ASCII, so those of another letter are named."""
    cases = {character, character.lower(), character.upper()}
    forms = dict.fromkeys(form for case in sorted(cases) if len(case) == 1 for form in _forms(case))
    return f"(?:{'|'.join(forms)})"


def _forms(character: str) -> list[str]:
    code, encoded = ord(character), character.encode()
    units = character.encode("utf-16-be")
    slash = r"\\\\*"  # one backslash or more: each further escape doubles it
    forms = [rf"\\*{_literal(character)}"]
    if character in "\"'":  # doubled in CSV and SQL
        forms = [rf"(?:\\*{_literal(character)})(?:\\*{_literal(character)})*"]
    forms.append("".join(f"{slash}u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)))
    forms.append("".join(f"{slash}x{byte:02x}" for byte in encoded))
    forms.append("".join(f"%(?:25)*{byte:02x}" for byte in encoded))
    forms.append(f"&(?:amp;)*#(?:0*{code}|x0*{code:x});")
    if code in codepoint2name or character == "'":
        forms.append(f"&(?:amp;)*{codepoint2name.get(code, 'apos').lower()};")
    if code in _NAMED:
        forms.append(slash + _NAMED[code])
    if 0x80 <= code < 0x100:
        forms.append(f"{slash}x{code:02x}")
    elif code > 0xFFFF:
        forms.append(f"{slash}u{code:08x}")
    elif character == " ":
        forms.append(r"\+")
    return forms


def _literal(character: str) -> str:
    """The regular expression of a character itself."""
    if character < " " or character == "\x7f":
        return f"\\x{ord(character):02x}"
    return character if character.isalnum() or character > "\x7f" else f"\\{character}"
