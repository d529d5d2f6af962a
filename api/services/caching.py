"""Which answer a client has already: the tags of answers, and what a client says it holds (RFC 9110, section 13)."""

from __future__ import annotations

from hashlib import blake2b


def tag(body: bytes) -> str:
    """The entity tag of an answer: of its content, so that it is right whatever the answer was made from.

    Weak, as the answer is the same compressed and not. Each answer names its release, so a new one changes all tags.
    """
    return f'W/"{blake2b(body, digest_size=12).hexdigest()}"'


def is_held(answer: str, held: str) -> bool:
    """Whether the tag `answer` is among those that a client holds, as `If-None-Match` lists them; `*` is any."""
    listed = [one.strip().removeprefix("W/") for one in held.split(",")]
    return answer.removeprefix("W/") in listed or listed == ["*"]
