"""What every causal question's file has, whatever its unit, and how a mistake in a file is told.

What a question about customers has besides is `form`; one about weeks of products is `products`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ml_assets.core.own_models.target import meant

NAME = r"[a-z][a-z0-9_]{0,40}"
TREATMENT, OUTCOME = "treatment", "outcome"
"""The nodes of a graph that every question has."""
KINDS = Literal["binary", "discrete", "continuous"]
NUISANCES = Literal["stacked", "smooth", "linear"]


class QuestionError(ValueError):
    """The file of a causal question cannot be used. The message names the key, the cause and the cure."""


class Part(BaseModel):
    """A part of a file: nothing may stand in it that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CausalGraph(Part):
    """What is believed to cause what: arrows between the treatment, the outcome, confounders and unseen causes."""

    edges: tuple[str, ...] = Field(
        min_length=1,
        description="Arrows as `cause -> effect`; nodes are `treatment`, `outcome`, what the question names as "
        "confounders, and what `latent` lists.",
    )
    latent: tuple[str, ...] = Field((), description="Causes that nobody has recorded.")

    @field_validator("edges")
    @classmethod
    def _are_arrows(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for edge in value:
            if not re.fullmatch(r"\s*\w+\s*->\s*\w+\s*", edge):
                raise ValueError(f"{edge!r} is no arrow: write it as `cause -> effect`, with the names of two nodes")
        return value

    @property
    def arrows(self) -> tuple[tuple[str, str], ...]:
        """Cause and effect of each edge."""
        pairs = (edge.split("->") for edge in self.edges)
        return tuple((cause.strip(), effect.strip()) for cause, effect in pairs)

    @property
    def nodes(self) -> frozenset[str]:
        """All that an arrow begins or ends at."""
        return frozenset(node for arrow in self.arrows for node in arrow)


class Asked(Part):
    """The keys of every question. It is called after its file."""

    name: str = Field(pattern=f"^{NAME}$", description="Lower-case letters, digits and underscores; from the file.")
    description: str = Field(min_length=1, max_length=1000, description="The question in one sentence of plain words.")
    owner: str = Field(
        pattern=r"^(team:[\w.-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$", description="`team:name` or an e-mail address."
    )
    shops: tuple[str, ...] | None = Field(
        None, min_length=1, description="The shops that it is asked of. Unset: each shop that has the data."
    )
    confounders: tuple[str, ...] | None = Field(
        None, description="What decides both on the treatment and on the outcome, by name. Unset: the usual ones."
    )
    modifiers: tuple[str, ...] | None = Field(
        None, description="What the effect may depend on, by name; looked at with the estimand CATE. Unset: the usual."
    )
    graph: CausalGraph | None = Field(
        None,
        description="What causes what. Unset: each confounder causes treatment and outcome.",
    )
    estimand: Literal["ATE", "ATT", "CATE"] = Field(
        "ATE",
        description="Whose effect: ATE of all who are asked about, ATT of those who were treated, CATE of all and for "
        "whom it is more.",
    )
    is_randomised: bool = Field(
        False, description="Whether chance alone decided on the treatment. Otherwise the confounders must tell it."
    )
    unrecorded: tuple[str, ...] = Field(
        (),
        description="What the treatment was also decided by and the data do not hold, in words. Anything here makes "
        "the effect not identified: no test on the data can find it out.",
    )
    cost: float | None = Field(
        None, ge=0, description="What treating one unit costs, in the shop's currency. Unset: what the data say, or 0."
    )
    value: float | None = Field(
        None, description="What one unit of the outcome is worth, in the shop's currency. Unset: what the data say."
    )
    estimators: NUISANCES | None = Field(
        None,
        description="What both estimators predict treatment and outcome with: `stacked` (splines and trees, slow), "
        "`smooth` (splines) or `linear`. Unset: smooth, and linear where chance decided.",
    )

    @field_validator("unrecorded")
    @classmethod
    def _are_words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not one.strip() for one in value):
            raise ValueError("an entry is empty: say what it is, or leave it out")
        return value

    @model_validator(mode="after")
    def _is_of_one_mind(self) -> Asked:
        if self.is_randomised and self.unrecorded:
            raise ValueError(
                "is_randomised says that chance alone decided, and unrecorded that something else did: leave one out"
            )
        if self.graph is not None:
            known = {TREATMENT, OUTCOME, *self.observed, *self.graph.latent}
            if unknown := sorted(self.graph.nodes - known):
                raise ValueError(
                    f"graph: {unknown[0]} is neither treatment, outcome, a confounder nor latent."
                    f"{meant(unknown[0], known)}"
                )
            if missing := sorted({TREATMENT, OUTCOME} - self.graph.nodes):
                raise ValueError(f"graph: no arrow begins or ends at {missing[0]}")
            if circle := _circle(self.graph.arrows):
                raise ValueError(f"graph: {' -> '.join(circle)} goes in a circle, and no cause follows its effect")
        return self

    @property
    def observed(self) -> tuple[str, ...]:
        """The names of what is adjusted for."""
        return self.confounders or ()

    @property
    def marts(self) -> tuple[str, ...]:
        """The marts that it is read from, besides those of features."""
        raise NotImplementedError

    @property
    def needs(self) -> frozenset[str]:
        """The marts that it is of no use without."""
        raise NotImplementedError

    @property
    def is_for(self) -> str:
        """The shops in words."""
        return ", ".join(self.shops) if self.shops else "each shop"


Form = TypeVar("Form", bound=Asked)


def made(form: type[Form], content: Mapping[str, Any]) -> Form:
    """The question of a file's content and its name.

    Raises:
        QuestionError: it does not have the form.
    """
    try:
        return form(**content)
    except ValidationError as error:
        raise QuestionError("; ".join(_explained(form, found) for found in error.errors(include_url=False))) from None


def _circle(arrows: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The nodes of a circle of arrows, the first again as the last; none where there is no circle."""
    following: dict[str, list[str]] = {}
    for cause, effect in arrows:
        following.setdefault(cause, []).append(effect)
    done: set[str] = set()

    def walk(node: str, path: tuple[str, ...]) -> tuple[str, ...]:
        if node in path:
            return (*path[path.index(node) :], node)
        if node in done:
            return ()
        for later in following.get(node, []):
            if found := walk(later, (*path, node)):
                return found
        done.add(node)
        return ()

    return next((found for node in following if (found := walk(node, ()))), ())


def _parts(annotation: Any) -> Iterator[type[Part]]:
    """The parts of a file that an annotation names, in unions and tuples too."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def _explained(form: type[Asked], found: Any) -> str:
    """A problem that pydantic found: the key, what is wrong, and what the key takes."""
    place = [str(part) for part in found["loc"]]
    fields, description = form.model_fields, None
    for part in place:
        if part in fields:
            description = fields[part].description
            inner = next(_parts(fields[part].annotation), None)
            fields = inner.model_fields if inner else {}
        elif found["type"] == "extra_forbidden":
            return f"{'.'.join(place)}: there is no such key.{meant(part, fields)} Keys: {', '.join(fields)}."
    takes = f" It takes: {description}" if description else ""
    got = "" if found["type"] in {"missing", "value_error"} else f", got {found['input']!r}"
    message = re.sub(r"^Value error, ", "", str(found["msg"]))
    end = "" if message.endswith((".", "?")) and not got else "."
    return f"{'.'.join(place) or 'the file'}: {message}{got}{end}{takes}"
