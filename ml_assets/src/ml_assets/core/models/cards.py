"""A registered version as a page for people: what it predicts from, how good it is, and how it came to predict.

Everything on it is from the registry; nothing is computed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ml_assets.core.registry import Decision, Registered, Version


def markdown(version: Version, model: Registered, log: Sequence[Decision]) -> str:
    """The model card of a version; `log` is the promotion log of its model."""
    card, verdict = model.card, version.verdict
    decisions = [one for one in log if version.version in (one.version, one.previous)]
    checks = "never judged" if version.failed is None else ", ".join(version.failed) or "none"
    parts = [
        f"# {version.name}, version {version.version}",
        _table(
            ("", ""),
            [
                ("as of", card["as_of"]),
                ("is", ", ".join(version.aliases) or "neither champion nor challenger"),
                ("registered", f"{version.registered_at:%Y-%m-%d %H:%M} UTC"),
                ("SHA-256", version.sha256),
                ("blocking checks failed", checks),
                ("gate", f"{verdict.outcome}: {verdict.reason}" if verdict else "never judged"),
            ],
        ),
        "## How good it is\n\nOn its holdout, which it was not fitted on; `_low` and `_high` bound 95 % intervals.",
        _table(("measure", "value"), ((name, f"{value:.4g}") for name, value in card["metrics"].items())),
        _table(("baseline", "value"), ((name, f"{value:.4g}") for name, value in card["baseline_metrics"].items())),
        "## What it was trained from",
        _table(("", ""), sorted(version.origin.items())),
        "## What it takes",
        _table(("feature", "type", "meaning"), ((f["name"], f["type"], f["description"]) for f in card["features"])),
        "## How it came to predict",
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


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
