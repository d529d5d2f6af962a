"""`cartograph causal estimate`: a causal question about any file, by the same estimators and gates as a shop's.

The question, its graph, and the report. Reading and coding the file's columns is the business of `file_rows`, what is
estimated that of `assess`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cartograph.yaml_files import YamlFileError, read_yaml
from ml_assets.core.causal.assess import assess, held_fixed
from ml_assets.core.causal.caveats import is_taken_for_random
from ml_assets.core.causal.effect import LINEAR, SMOOTH
from ml_assets.core.causal.errors import CausalFileError
from ml_assets.core.causal.file_rows import Asked, Loaded, read, word
from ml_assets.core.causal.finding import Finding, GroupEffect, NamedEstimate
from ml_assets.core.causal.gaps import gap_of, pooled_gap
from ml_assets.core.causal.gates import (
    ASK_OF_TREATED,
    MOST_EMPTY,
    TREATED_REFUSED,
    confounders_are_known,
    no_confounder_is_the_outcome,
    values_are_held_fixed,
)
from ml_assets.core.causal.graph import Graph
from ml_assets.core.causal.printed import answer, checks, interval, named, number, plain
from ml_assets.core.causal.study import Design, Kind, Study

MANY_CELLS = 400_000
"""More rows times covariates than these are estimated by smooth nuisances: stacked ones took minutes."""
TOLD_EMPTY = 0.01
"""The share of rows in which a confounder may be empty, or of a value too rare, before it is told of."""


def estimate(path: Path, asked: Asked) -> dict[str, Any]:
    """Read, estimate, try to refute, and report; what the command prints.

    Raises:
        CausalFileError: the file is not there or cannot be read, a column is missing or not what it is asked as.
        GraphError: the graph has a cycle, or lacks the treatment or the outcome.
    """
    check(asked)
    graph = None if asked.graph is None else read_graph(asked.graph, asked)
    loaded = read(path, asked)
    _refuse_treated_of_amount(asked, loaded.kind)
    design = Design(
        kind=loaded.kind,
        estimand=asked.estimand or "ATE",
        is_randomised=asked.is_randomised,
        unrecorded=asked.unrecorded,
        graph=graph,
        trims=asked.trims,
        is_vouched=bool(asked.confounders),
    )
    if loaded.kind == "continuous" and asked.modifiers:
        told = "Effects of one more unit of an amount are not told by modifier: they were adjusted for."
        loaded = loaded._replace(warnings=(*loaded.warnings, told))
    nuisances = SMOOTH if loaded.study.confounders.values.size > MANY_CELLS else None
    if asked.is_randomised:  # as questions of a shop have it: of NSW's 445 stacked ones widened the interval by 7 %
        nuisances = LINEAR
    found = assess(loaded.study, design, nuisances)
    overlap = found.gate("overlap")
    if asked.estimand is None and loaded.kind != "continuous" and overlap is not None and not overlap.passed:
        of_treated = assess(loaded.study, replace(design, estimand="ATT"), nuisances)
        if of_treated.identified:
            told = f"There is no answer for all: {overlap.detail.split(';')[0]}. This is the effect on the treated."
            found = replace(of_treated, warnings=(told, *of_treated.warnings))
            design = replace(design, estimand="ATT")
        else:
            tried = overlap._replace(detail=overlap.detail.replace(ASK_OF_TREATED, TREATED_REFUSED))
            found = replace(found, gates=tuple(tried if gate is overlap else gate for gate in found.gates))
    held = held_fixed(loaded.study, design)
    if not asked.is_randomised:
        found = _with_gaps(found, loaded, held)
    return report(replace(asked, estimand=design.estimand), loaded, found, held)


def _with_gaps(found: Finding, loaded: Loaded, held: Sequence[str]) -> Finding:
    """The finding with what is told of columns that are not held fixed in all rows, and the gates that judge that."""
    inside = replace(loaded.study, confounders=loaded.study.confounders.only(set(held)))
    empty = {name: share for name, share in loaded.empty.items() if name in held and share > TOLD_EMPTY}
    shares = {name: float(np.mean(loaded.pooled[name] >= 0)) for name in held if name in loaded.pooled}
    pooled = {name: share for name, share in shares.items() if share > TOLD_EMPTY}
    told = [
        *(
            f"{name} is empty in {share:.0%} of the rows: it is not held fixed among these."
            for name, share in empty.items()
        ),
        *(
            f"{name} has a value too rare to be held fixed in {share:.0%} of the rows. Group its values."
            for name, share in pooled.items()
        ),
    ]
    more = [gate] if (gate := no_confounder_is_the_outcome(inside.confounders, inside.outcome)) else []
    telling = {name: gap_of(inside, loaded.kind, name, f"{name}={word(None)}", share) for name, share in empty.items()}
    gaps = {name: gap for name, gap in telling.items() if gap}
    if gaps or max(empty.values(), default=0) > MOST_EMPTY:
        more.append(confounders_are_known(empty, gaps))
    if pooled:
        rare = {name: pooled_gap(inside, loaded.kind, name, loaded.pooled[name]) for name in pooled}
        more.append(values_are_held_fixed(pooled, {name: gap for name, gap in rare.items() if gap}))
    return replace(found, gates=(*found.gates, *more), warnings=(*found.warnings, *told))


def check(asked: Asked) -> None:
    """Refuse a question that contradicts itself.

    Raises:
        CausalFileError: a column has two parts that exclude each other.
    """
    if asked.treatment == asked.outcome:
        raise CausalFileError(f"{asked.treatment} is both treatment and outcome. Name two columns.")
    for part, names in (
        ("the confounders", asked.confounders),
        ("the modifiers", asked.modifiers),
        ("the negative controls", asked.negative_controls),
    ):
        for whole, name in (("the treatment", asked.treatment), ("the outcome", asked.outcome)):
            if name in names:
                raise CausalFileError(f"{name} is {whole} and among {part}, too. Take it out of them.")
    if both := sorted({*asked.confounders, *asked.modifiers} & {*asked.negative_controls}):
        raise CausalFileError(
            f"{both[0]} is a negative control and adjusted for, too: then there is no effect on it to find. Leave it "
            "out of one of them."
        )
    _refuse_treated_of_amount(asked, asked.kind)


def _refuse_treated_of_amount(asked: Asked, kind: Kind | None) -> None:
    if asked.estimand == "ATT" and kind == "continuous":
        raise CausalFileError("An amount has no untreated rows, so no effect on the treated: ask for --estimand ate.")


def read_graph(path: Path, asked: Asked) -> Graph:
    """The graph in a YAML file: `edges`, each as `cause -> effect`, and `latent`, the nodes that nobody has recorded.

    Raises:
        CausalFileError: it is none.
    """
    form = "a mapping of `edges` (a list of `cause -> effect`) and, where there are some, `latent` (a list of names)"
    try:
        content = read_yaml(path, form)
    except YamlFileError as error:
        raise CausalFileError(str(error)) from None
    edges = content.get("edges")
    latent = content.get("latent", [])
    if not isinstance(edges, list) or not isinstance(latent, list) or content.keys() - {"edges", "latent"}:
        raise CausalFileError(f"{path} must be {form}.")
    pairs = []
    for edge in edges:
        ends = [end.strip() for end in str(edge).split("->")]
        if len(ends) != 2 or not all(ends):
            raise CausalFileError(f"{path}: {edge!r} is no edge. Write `cause -> effect`.")
        pairs.append((ends[0], ends[1]))
    return Graph(tuple(pairs), asked.treatment, asked.outcome, tuple(map(str, latent)))


def report(asked: Asked, loaded: Loaded, found: Finding, held: Sequence[str]) -> dict[str, Any]:
    """The finding as what is printed: numbers to six digits, and `answer` only where it is identified.

    `held` are the columns that were held fixed.
    """
    study = loaded.study
    naive = found.naives or (
        (NamedEstimate("difference of means", found.estimates[0].contrast if found.estimates else "", found.naive),)
        if found.naive
        else ()
    )
    overlap = found.gate("overlap")
    return {
        "question": _question(asked, loaded),
        "data": loaded.facts,
        "kind": loaded.kind,
        "estimand": asked.estimand,
        "treatment": {"column": asked.treatment, "levels": list(study.levels), "rows": _counts(study, loaded.kind)},
        "outcome": asked.outcome,
        "adjusted_for": list(held),
        "assumed": _assumed(asked, found),
        "verdict": found.verdict,
        "answer": answer(found),
        "naive": [named(one) for one in naive],
        "estimates": [named(one) for one in found.estimates],
        "checks": checks(found.gates),
        "trimmed_share": number(found.trimmed_share),
        "overlap": {
            "share": number(overlap.value) if overlap else None,
            "propensities": None if found.propensity is None else found.propensity._asdict(),
        },
        "balance": [
            {"covariate": one.covariate, "before": number(one.before), "after": number(one.after)}
            for one in found.balance
        ],
        "sensitivity": plain(found.sensitivity),
        "heterogeneity": plain(found.heterogeneity),
        "groups": [_of_group(one) for one in found.groups] if found.identified else None,
        "warnings": [*loaded.warnings, *found.warnings, *_refusal(asked, found)],
    }


def _question(asked: Asked, loaded: Loaded) -> str:
    what = "one more of " + asked.treatment if loaded.kind == "continuous" else asked.treatment
    levels = loaded.study.levels
    compared = f" ({', '.join(levels[1:])} against {levels[0]})" if levels else ""
    whom = "those who got it" if asked.estimand == "ATT" else "all"
    return f"What does {what}{compared} do to {asked.outcome}, on average over {whom}?"


def _assumed(asked: Asked, found: Finding) -> str:
    """What the answer rests on, and no data can show."""
    if asked.is_randomised:
        return f"{asked.treatment} was dealt out at random, as declared."
    if not asked.confounders:
        return f"{asked.treatment} was chosen by nothing that moves {asked.outcome}: no confounders were named."
    door = found.gate("back_door")
    if door is not None and is_taken_for_random(door):
        return (
            f"{asked.treatment} was dealt out at random: in these rows what was named tells no more of it than chance."
        )
    return f"Among rows alike in what was named, {asked.treatment} was chosen by nothing that moves {asked.outcome}."


def _refusal(asked: Asked, found: Finding) -> list[str]:
    """What to do about an answer that is not identified."""
    told = []
    failed = [gate.name for gate in found.gates if not gate.passed]
    if "back_door" in failed and not asked.unrecorded:
        if not asked.confounders and not asked.is_randomised:
            told.append(
                "Say --randomised if chance decided who was treated; else name with --confounders what did, as far as "
                "it moves the outcome, too."
            )
        elif asked.is_randomised:
            told.append("What was named tells who was treated, so it was not dealt out at random alone.")
    if not failed and not found.identified:
        told.append("Nothing could be estimated, or no interval is finite.")
    if failed:
        told.append(f"Do not act on these estimates: {', '.join(failed)} failed.")
    return told


def _counts(study: Study, kind: Kind) -> list[int]:
    if kind == "continuous":
        return [len(study)]
    return [int(count) for count in np.bincount(study.treatment.astype(np.int64), minlength=len(study.levels))]


def _of_group(one: GroupEffect) -> dict[str, Any]:
    who = {"modifier": one.modifier, "value": one.value, "rows": one.rows}
    return {**who, "contrast": one.contrast, **interval(one.estimate)}
