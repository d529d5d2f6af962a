"""What is observed (a signal), what is told of it (a message), and how a message reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from cartograph.alerts.parts import Part, merged, without
from cartograph.alerts.runbook import section

Severity = Literal["warning", "error"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Signal(_Frozen):
    """One observation: whether `name` (a check, or `run`) of `subject` (an asset, or a job) is well, found at `at`.

    `parts` are what fails of the subject where that is not all of it: partitions, or assets; and of a run, the assets
    that it was to make, with their partitions. One that is `only_of_parts`, as each run is, says nothing of others. The
    subject of a run that a check stopped is the check's: both are one message. A failure that `holds_back` also refuses
    each release that is made of its subject, which is told with it and not once more. One that does not last, as an
    override of checks, is an event: told each time, and never over. `told` is the worst severity that was told of a
    failure since it began: whoever heard of that hears of its end.
    """

    subject: str
    name: str
    healthy: bool
    severity: Severity
    owner: str
    run_id: str
    text: str
    at: AwareDatetime
    parts: tuple[Part, ...] = ()
    only_of_parts: bool = False
    lasts: bool = True
    holds_back: bool = False
    told: Severity | None = None

    def left_of(self, known: Signal) -> Signal | None:
        """What is left of the failure `known` as this is well: of the same, or of its parts; None where it is over."""
        if self.name != known.name:
            return known
        if not (self.only_of_parts and known.parts):
            return None if self.subject == known.subject else known
        left = without(known.parts, self.parts)
        return known.model_copy(update={"parts": left}) if left else None

    def is_news_after(self, known: Signal) -> bool:
        """Whether this failure is more than `known`, which was told of the same: an error, or of further parts."""
        is_worse = (known.severity, self.severity) == ("warning", "error")
        return is_worse or bool(known.parts and (not self.parts or without(self.parts, known.parts)))

    def worst_told(self, known: Signal | None) -> Severity:
        """The worst severity that is told of this failure, with what was told of it as it was `known`."""
        return "error" if "error" in (self.severity, known and (known.told or known.severity)) else "warning"

    def with_parts_of(self, known: Signal) -> Signal:
        """This failure with what stands of `known`, of which it says nothing where it is of its own parts only."""
        parts = merged((*known.parts, *self.parts)) if known.parts else ()
        return self.model_copy(update={"parts": parts}) if self.only_of_parts else self


class Message(_Frozen):
    """What is told of one subject of one run: what fails there since, and what is well again."""

    subject: str
    owner: str
    run_id: str
    severity: Severity
    at: AwareDatetime
    failing: tuple[Signal, ...] = ()
    recovered: tuple[Signal, ...] = ()

    @property
    def message_id(self) -> str:
        """24 hex digits that are the same whenever the same is told: receivers can tell a repetition by it."""
        names = [signal.name for signal in (*self.failing, *self.recovered)]
        parts = (self.subject, self.run_id, self.at.isoformat(), *names)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

    @property
    def title(self) -> str:
        """One line: what it is about and how bad it is."""
        if not self.failing:
            return f"Recovered: {self.subject} ({', '.join(signal.name for signal in self.recovered)})"
        names = ", ".join(signal.name for signal in self.failing)
        return f"{_worst(self.failing).capitalize()}: {self.subject} ({names})"

    @property
    def body(self) -> str:
        """What was found, whose it is, and where it says what to do."""
        lines = [f"failing: {signal.name}: {signal.text}" for signal in self.failing]
        if any(signal.holds_back for signal in self.failing):
            lines.append("held back: each release that is made of it is refused until it is well")
        lines += [f"recovered: {signal.name}" for signal in self.recovered]
        lines += [f"owner: {self.owner}", f"run: {self.run_id}", f"found at: {self.at:%Y-%m-%d %H:%M:%S} UTC"]
        if self.failing:
            places = dict.fromkeys(section(signal.name) for signal in self.failing)
            lines += [f"what to do: {p if '://' in p else f'{p} in the repository of Cartograph'}" for p in places]
        return "\n".join(lines)

    def within(self, limit: int) -> Message:
        """The message with a body of at most `limit` bytes: longer texts are cut alike, and say by how much."""
        size, texts = _bytes(self.body), [_bytes(signal.text) for signal in self.failing]
        if size <= limit or not texts:
            return self
        share = max(0, (limit - size + sum(texts)) // len(texts) - _NOTE)
        cut = tuple(signal.model_copy(update={"text": _cut(signal.text, share)}) for signal in self.failing)
        return self.model_copy(update={"failing": cut})


_NOTE = 100
"""Bytes that the note about what was cut takes at most."""


def _cut(text: str, limit: int) -> str:
    kept = text.encode()[:limit].decode(errors="ignore")
    if kept == text:
        return text
    return f"{kept} … ({len(text) - len(kept):,} more characters: the whole is in alerts.jsonl, beside the logs)"


def _bytes(text: str) -> int:
    return len(text.encode())


def grouped(failing: list[Signal], recovered: list[Signal]) -> list[Message]:
    """One message for each subject of each run, in the order of what was found first."""
    signals = sorted((*failing, *recovered), key=lambda signal: signal.at)
    groups = dict.fromkeys((signal.subject, signal.run_id) for signal in signals)
    return [
        _message([s for s in failing if _group(s) == group], [s for s in recovered if _group(s) == group])
        for group in groups
    ]


def _group(signal: Signal) -> tuple[str, str]:
    return signal.subject, signal.run_id


def _worst(signals: Iterable[Signal]) -> Severity:
    return "error" if any(signal.severity == "error" for signal in signals) else "warning"


def _message(failing: list[Signal], recovered: list[Signal]) -> Message:
    latest = max((*failing, *recovered), key=lambda signal: signal.at)
    return Message(
        subject=latest.subject,
        owner=latest.owner,
        run_id=latest.run_id,
        severity=_worst((*failing, *recovered)),
        at=latest.at,
        failing=tuple(failing),
        recovered=tuple(recovered),
    )
