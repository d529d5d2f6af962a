"""The decision memo: the answer to a question for who has to decide, in plain words, as Markdown.

It says what was asked, what to do, what was checked, and why not to believe it where a test failed. It has only what
the answer holds: one that is not identified has no effect in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ml_assets.core.causal.finding import Estimate, Gate
from ml_assets.core.evaluation.plots import Picture
from ml_assets.core.questions.answers import Answer
from ml_assets.core.questions.posed import SHARE

ABOUT_GATES = {
    "arm_sizes": "Are there enough of each group to compare?",
    "identification": "By the graph of causes, can the effect be told from what is recorded?",
    "back_door": "Was the treatment decided as the file says?",
    "overlap": "Could those compared have been treated or not?",
    "effective_size": "Are enough left once they are weighted to be alike?",
    "balance": "Weighted, are the groups alike in all that was known before?",
    "agreement": "Do two estimators of different families agree?",
    "placebo_treatment": "Does a treatment dealt out at random have no effect?",
    "random_common_cause": "Does a further cause that is pure noise change nothing?",
    "random_subset": "Do two random halves of the data say the same?",
    "placebo_later_treatment": "Does a later treatment, which cannot have caused the outcome, go with nothing?",
    "negative_controls": "Does it leave alone what it cannot have changed?",
    "estimate": "Could anything be estimated?",
}
"""What each test asks, by the name of its gate."""
ABOUT_AMOUNTS = ABOUT_GATES | {
    "arm_sizes": "Are there enough rows to compare?",
    "overlap": "Does the amount still vary once the rest is held equal?",
    "balance": "Does what is left of the amount go with nothing that was known before?",
    "placebo_treatment": "Does an amount dealt out at random have no effect?",
}
"""The same where the treatment is an amount, so that there are no groups."""
CURES = {
    "arm_sizes": "Wait for more data, or ask of more people.",
    "identification": "Record what is missing, or correct the graph if it is wrong.",
    "back_door": "Only an experiment tells it: draw by lot who is treated next time.",
    "overlap": "Ask only about those for whom both could happen (`population`), or treat some at random next time.",
    "effective_size": "Ask of a narrower population, or of more people.",
    "balance": "Name in `confounders` what decided, or choose better `estimators`; else run an experiment.",
    "agreement": "Set `estimators: stacked`, and look for what the confounders lack.",
    "negative_controls": "Something that is not among the confounders decided too: find it, or run an experiment.",
}
"""What may help where a test fails."""
NAMED = 4
"""What is held equal is named up to so many, and counted beyond."""


class Decision(NamedTuple):
    """What a policy would do and is worth: lines of Markdown that `policy` gives."""

    lines: tuple[str, ...]


def memo(answer: Answer, pictures: Sequence[Picture] = (), policy: Decision | None = None) -> str:
    """The memo as Markdown, with `pictures` by their files."""
    shown = {picture.name: picture for picture in pictures}
    parts = [
        f"# {answer.description}",
        _head(answer),
        "## Answer",
        *(_identified(answer) if answer.is_identified else _refused(answer)),
        *_picture(shown, "effects"),
        "## What was asked",
        _asked(answer),
        *_picture(shown, "graph"),
        "## What was checked",
        _tests(answer),
        *_picture(shown, "tests"),
        *_picture(shown, "overlap"),
        *_picture(shown, "balance"),
        *_sensitivity(answer),
        *_picture(shown, "sensitivity"),
        *_heterogeneity(answer),
        *_picture(shown, "qini"),
        *(("## Whom to treat", *policy.lines) if policy else ()),
        *(("## Mind", "\n".join(f"- {one}" for one in answer.finding.warnings)) if answer.finding.warnings else ()),
    ]
    return "\n\n".join(parts) + "\n"


def without_pictures(markdown: str) -> str:
    """The memo for where its pictures are not beside it."""
    return "\n\n".join(part for part in markdown.split("\n\n") if not part.startswith("!["))


def sentence(answer: Answer) -> str:
    """The answer in one sentence, with its interval and what it is worth."""
    found = answer.estimate
    if found is None:
        failed = ", ".join(gate.name.replace("_", " ") for gate in answer.refusals)
        return f"Not identified: the data cannot tell what the effect is ({failed})."
    whose = "those who were treated" if answer.estimand == "ATT" else "those asked about"
    told = f"Over {whose}, that one {answer.treatment} changes {answer.outcome} by {_signed(found, answer.unit)}"
    if found.low <= 0 <= found.high:
        told += ", which may be nothing"
    return f"{told}."


def _head(answer: Answer) -> str:
    return f"Question `{answer.question}` of {answer.owner}, as of {answer.as_of}. **{answer.finding.verdict.upper()}**"


def _identified(answer: Answer) -> list[str]:
    said = [f"**{sentence(answer)}**"]
    worth = answer.worth
    if worth is not None:
        money = _signed(worth, answer.currency)
        cost = f", {answer.cost:,.2f} of cost taken off" if answer.cost else ""
        action = (
            "It pays."
            if worth.low > 0
            else "It does not pay."
            if worth.high < 0
            else "Whether it pays is not certain: decide by what an error costs, or ask again with more data."
        )
        said.append(f"In money, at {answer.value:,.4g} a unit{cost}: {money} for each {answer.unit_asked}. {action}")
    naive = answer.finding.naive
    if naive is not None and not answer.is_randomised:
        plain = _signed(naive, answer.unit)
        said.append(
            f"Where nothing is held equal it is {plain}. It is no effect: what the amount was chosen by may move the "
            "outcome, too."
            if answer.is_amount
            else f"The plain difference between the groups is {plain}. It is no effect: the groups differed before."
        )
    return said


def _refused(answer: Answer) -> list[str]:
    reasons = [
        f"- **{_about(answer, gate)}** No: {gate.detail}. {CURES.get(gate.name, '')}".rstrip()
        for gate in answer.refusals
    ]
    return [
        "> **Not identified: do not act on any number about this.** What the data show may come of something else.",
        "\n".join(reasons),
        "No estimate is given, here or in the release: a number that cannot be defended would be used all the same.",
    ]


def _asked(answer: Answer) -> str:
    found = answer.finding
    decided = (
        "By lot."
        if answer.is_randomised
        else f"Also by what nobody recorded: {', '.join(answer.unrecorded)}."
        if answer.unrecorded
        else f"By what was known before, of which {_held(answer.confounders)} held equal."
    )
    compared = (
        f"{found.treated + found.control:,} rows with each other, by the amount of each"
        if answer.is_amount
        else f"{found.treated:,} treated with {found.control:,} others"
    )
    rows = [
        ("Treatment", answer.treatment),
        ("Outcome", f"{answer.outcome} ({answer.unit})"),
        ("Of whom", f"`{_cell(answer.population)}`"),
        ("Whose effect", {"ATT": "of those who were treated"}.get(answer.estimand, "of all who are asked about")),
        ("How it was decided", decided),
        ("Compared", f"{compared}; {found.left_out} left out"),
        *((name.replace("_", " ").capitalize(), text) for name, text in answer.notes.items()),
    ]
    return _table(("", ""), rows)


def _held(names: Sequence[str]) -> str:
    named = ", ".join(names) if len(names) <= NAMED else f"{len(names)} things"
    return f"{named or 'nothing'} {'are' if len(names) > 1 else 'is'}"


def _about(answer: Answer, gate: Gate) -> str:
    about = ABOUT_AMOUNTS if answer.is_amount else ABOUT_GATES
    return about.get(gate.name, gate.name.replace("_", " ").capitalize())


def _tests(answer: Answer) -> str:
    rows = [(_about(answer, g), "yes" if g.passed else "**no**", g.detail) for g in answer.finding.gates]
    return _table(("test", "passed", "found"), rows)


def _sensitivity(answer: Answer) -> list[str]:
    found = answer.finding.sensitivity
    if found is None:
        return []
    low, high = found.interval
    stands = "the sign would stand" if low > 0 or high < 0 else "it could be nothing at all"
    return [
        "## If something is missing",
        (
            f"To bring the effect to nothing, something that nobody recorded would have to explain "
            f"{found.robustness:.1%} of what is left both of the treatment and of the outcome"
            f" ({found.robustness_interval:.1%} to make it uncertain). The strongest thing that is recorded, "
            f"`{found.benchmark}`, explains {found.treatment_share:.1%} and {found.outcome_share:.1%}. If something as "
            f"strong were missing, the effect would be between {low:,.4g} and {high:,.4g}: {stands}."
        ),
    ]


def _heterogeneity(answer: Answer) -> list[str]:
    found = answer.finding.heterogeneity
    if found is None:
        return []
    known = found.qini > 0 and found.qini_p < 0.05
    return [
        "## For whom it is more",
        (
            "On rows that were held out, those predicted to gain more did gain more"
            if known
            else "The data do not show for whom it is more: treat all alike"
        )
        + f" (area over treating at random {found.qini:,.3g}, p = {found.qini_p:.3g}).",
        *([_groups(answer)] if answer.finding.groups else []),
    ]


def _groups(answer: Answer) -> str:
    """The effect in each group; of so many intervals some miss."""
    rows = (
        (one.modifier, one.value, f"{one.rows:,}", _signed(one.estimate, answer.unit)) for one in answer.finding.groups
    )
    return _table(("by", "value", "rows", "effect"), rows)


def _picture(pictures: dict[str, Picture], name: str) -> list[str]:
    picture = pictures.get(name)
    return [f"![{picture.caption}]({picture.file})", f"*{picture.caption}*"] if picture else []


def _signed(found: Estimate, unit: str) -> str:
    if unit == SHARE:
        return f"{found.ate:+.1%} [{found.low:+.1%}, {found.high:+.1%}] of it"
    return f"{found.ate:+,.4g} [{found.low:+,.4g}, {found.high:+,.4g}] {unit}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [tuple(header), ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
