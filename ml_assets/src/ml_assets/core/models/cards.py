"""A registered version as a page for people: what it is for, what it predicts from, how good it is, and what it cannot.

Everything on it is from the registry; nothing is computed anew. `page` is the same for the same version, whenever it is
made, so that it can be a part of a release; what has become of the version since is `history`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ml_assets.core.models.recipes import RECIPES
from ml_assets.core.models.report import Report
from ml_assets.core.models.segments import NO_EARLIER, earlier_of
from ml_assets.core.registry import SNAPSHOT, Decision, Registered, Version

CATALOGUE = "`docs/features.md`"


def page(version: Version, model: Registered, catalogue: str = CATALOGUE, pictures: str = "") -> str:
    """The model card of a version; `catalogue` is the Markdown that leads to the feature catalogue.

    Its pictures are files by the names of the report, in the folder `pictures`, which ends with a slash or is empty.
    """
    card, report = model.card, model.report
    parts = [
        f"# {version.name}, version {version.version}",
        *(_purpose(report) if report else ["An older Cartograph registered it: only its figures are known."]),
        "## How good it is\n\nOn data that it was not fitted on.",
        _metrics(card["metrics"], card["baseline_metrics"]),
        *(_evidence(report, pictures) if report else []),
        "## Features",
        _features(card["features"], version, catalogue),
        *(_heeded(report) if report else []),
        "## Origin",
        _origin(version),
        *([_table(("parameter", "value"), report.parameters.items())] if report else []),
        "## How to make it again",
        _again(version),
    ]
    return "\n\n".join(parts) + "\n"


def history(version: Version, log: Sequence[Decision]) -> str:
    """What has become of a version, as Markdown; `log` is the promotion log of its model."""
    verdict = version.verdict
    decisions = [one for one in log if version.version in (one.version, one.previous)]
    checks = "never judged" if version.failed is None else ", ".join(version.failed) or "none"
    parts = [
        "## How it came to predict",
        _table(
            ("", ""),
            [
                ("is", ", ".join(version.aliases) or "neither champion nor challenger"),
                ("registered", f"{version.registered_at:%Y-%m-%d %H:%M} UTC"),
                ("blocking checks failed", checks),
                ("gate", f"{verdict.outcome}: {verdict.reason}" if verdict else "never judged"),
            ],
        ),
        _table(
            ("when (UTC)", "what", "by", "why"),
            (
                (f"{one.at:%Y-%m-%d %H:%M}", f"{one.action}: version {one.version}", one.by, one.reason)
                for one in decisions
            ),
        )
        if decisions
        else "It never did.",
    ]
    return "\n\n".join(parts) + "\n"


def index(versions: Mapping[str, tuple[Version, Registered]], shop: str) -> str:
    """The page that leads to the cards `<name>.md` of a shop's champions."""
    rows = (
        (
            f"[{name}]({name}.md)",
            model.report.about.title if model.report else "",
            version.version,
            version.as_of or "",
            f"{sum(check.passed for check in model.report.checks)} of {len(model.report.checks)}"
            if model.report
            else "",
        )
        for name, (version, model) in sorted(versions.items())
    )
    return (
        "\n\n".join(
            [
                "# Model cards",
                f"The champions of {shop}. `cartograph models cards DIR` writes these pages from the registry.",
                _table(("model", "question", "version", "as of", "checks passed"), rows),
            ]
        )
        + "\n"
    )


def _purpose(report: Report) -> list[str]:
    about = report.about
    return [
        about.title + ".",
        f"## Purpose\n\n{about.purpose}",
        f"## Target\n\n{about.target}",
        f"## Population\n\n{about.population}",
        f"## Training data\n\n{report.data}",
    ]


def _metrics(metrics: Mapping[str, float], baselines: Mapping[str, float]) -> str:
    """A row for each measure with its interval, and the baselines of the same measure."""
    rows = []
    for name, value in metrics.items():
        if name.endswith(_BOUNDS):
            continue
        bounds = [metrics[name + end] for end in _BOUNDS if name + end in metrics]
        usual = ", ".join(f"{of.rpartition('.')[0]} {_shown(b)}" for of, b in baselines.items() if _is_of(of, name))
        rows.append((name, _shown(value), " to ".join(map(_shown, bounds)) or "–", usual or "–"))
    others = [of for of in baselines if not any(_is_of(of, name) for name in metrics)]
    rows += [(of, "–", "–", _shown(baselines[of])) for of in others]
    return _table(("measure", "value", "95 % interval", "baselines"), rows)


_BOUNDS = ("_low", "_high", ".low", ".high")


def _is_of(baseline: str, measure: str) -> bool:
    return baseline == measure or baseline.endswith(f".{measure}")


def _evidence(report: Report, pictures: str) -> list[str]:
    checks = (
        (one.name, "passed" if one.passed else "failed", "yes" if one.blocks else "no", one.expected, one.found)
        for one in report.checks
    )
    columns = list(dict.fromkeys(name for group in report.groups for name in group.figures))
    groups = (
        (
            group.name,
            f"{group.rows:,}",
            *(_shown(group.figures[name]) if name in group.figures else "–" for name in columns),
        )
        for group in report.groups
    )
    return [
        "## Checks",
        _table(("check", "result", "blocks", "expected", "found"), checks),
        "## Subgroups",
        _table(("rows", "count", *columns), groups) if report.groups else "None are told apart.",
        "## Pictures",
        *(f"![{one.file.removesuffix('.svg')}]({pictures}{one.file})\n\n{one.text}" for one in report.pictures),
    ]


def _features(features: Sequence[Mapping[str, str]], version: Version, catalogue: str) -> str:
    if not features:
        return "None: it takes purchases."
    sources = ", ".join(
        f"`{table}` at snapshot {snapshot}"
        for table, snapshot in sorted(version.snapshots.items())
        if table.startswith("features.")
    )
    told = f"Of {sources or 'an unknown table'}, in the order of its input; {catalogue} defines each."
    rows = ((one["name"], one["type"], one["description"]) for one in features)
    return f"{told}\n\n{_table(('feature', 'type', 'meaning'), rows)}"


def _heeded(report: Report) -> list[str]:
    return [
        f"## {title}\n\n" + "\n".join(f"- {sentence}" for sentence in sentences)
        for title, sentences in (("Limits", report.about.limits), ("Ethics", report.about.ethics))
    ]


def _origin(version: Version) -> str:
    origin = dict(version.origin)
    if earlier := earlier_of(origin.get("earlier", NO_EARLIER)):
        origin["earlier"] = f"the segments of {earlier.as_of}, whose numbers it keeps"
    told = [
        (f"snapshot of `{key.removeprefix(SNAPSHOT)}`" if key.startswith(SNAPSHOT) else key.replace("_", " "), value)
        for key, value in sorted(origin.items())
    ]
    return _table(("", ""), [("as of", version.as_of or "–"), ("SHA-256", version.sha256), *told])


def _again(version: Version) -> str:
    if version.name not in RECIPES:
        return "It cannot be made again from its registry entry alone."
    return (
        f"`cartograph models reproduce {version.name} {version.version}` trains it again from the snapshots above, and "
        "says whether the bytes are the same."
    )


def _shown(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
