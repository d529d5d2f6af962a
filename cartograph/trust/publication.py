"""Whether an asset may be published: not while an error that nobody mended stands behind it, whichever run found it.

Within a run Dagster keeps back what is downstream of a failed check. This is for the runs that leave the failed asset
out. A check that is missing or older than its data does not keep a publication back, which the release asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import dagster as dg
from pydantic import ValidationError

from cartograph.releases import Override
from cartograph.trust.asset_graph import GuardedAsset, assets_behind
from cartograph.trust.automation import OVERRIDE_TAGS
from cartograph.trust.causes import failure_by_checks
from cartograph.trust.gate import checks_of, span_of, standing_results
from cartograph.trust.overrides import tell_override
from cartograph.windows import Window

_NAMED = 5
Errors = Mapping[dg.AssetCheckKey, tuple[dg.AssetCheckEvaluation, ...]]


class _Look(NamedTuple):
    """The errors that stood when they were looked for, of the checks of the assets that were."""

    run_id: str
    checks: frozenset[dg.AssetCheckKey]
    errors: Errors


_latest_look: list[_Look] = []
"""The last look of this process, which a run's publications share: each of its own would take as long."""


def require_sound(context: dg.AssetExecutionContext, window: Window | None) -> dict[str, str]:
    """Hear whether the asset that `context` is of may be published for `window`, None for all of history.

    The metadata of the publication: empty, or in spite of what somebody answers for it.

    Raises:
        Failure: an error of a blocking check of anything that it is made of stands for one of its partitions.
    """
    behind = assets_behind(context)
    found = _within(_errors(context, behind), window)
    if found:  # what has passed since the look of another publication counts
        _latest_look.clear()
        found = _within(_errors(context, behind), window)
    if not found:
        return {}
    override = _override(context.run.tags)
    named = _named(found)
    if override is None:
        raise failure_by_checks(
            f"{context.asset_key.to_user_string()} is not published: blocking checks failed, {named}. Mend what they "
            "found and load those partitions again, or `cartograph run` everything; who answers for it says "
            "--override-by and --override-reason.",
            found,
        )
    tell_override(context, f"published in spite of {named}, by {override.by}: {override.reason}")
    return {"in_spite_of": named, "override_by": override.by, "override_reason": override.reason}


def _errors(context: dg.AssetExecutionContext, behind: Iterable[GuardedAsset]) -> Errors:
    """The errors that stand of the blocking checks of the assets `behind`."""
    wanted = frozenset(key for key, blocking in checks_of(behind).items() if blocking)
    known = next((look for look in _latest_look if look.run_id == context.run_id), None)
    lacking = wanted - known.checks if known else wanted
    if lacking:
        stands = standing_results(context.instance, sorted(lacking))
        errors = {key: found.errors for key, found in stands.items() if found.errors}
        known = _Look(
            context.run_id,
            wanted | (known.checks if known else frozenset()),
            {**(known.errors if known else {}), **errors},
        )
        _latest_look[:] = [known]
    return {key: found for key, found in (known.errors if known else {}).items() if key in wanted}


def _within(errors: Errors, window: Window | None) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
    """Of each check the latest error that is about a partition in `window`."""
    found = {}
    for key, of_check in errors.items():
        about = (error for error in of_check if _meets(error, window))
        error = next(about, None)
        if error is not None:
            found[key] = error
    return found


def _meets(error: dg.AssetCheckEvaluation, window: Window | None) -> bool:
    span = span_of(error)
    if span is None or window is None:
        return True
    return span[0] < window.end.isoformat() and window.start.isoformat() < span[1]


def _named(found: Mapping[dg.AssetCheckKey, dg.AssetCheckEvaluation]) -> str:
    names = []
    for key, error in found.items():
        span = span_of(error)
        where = f" for {span[0][:10]} to before {span[1][:10]}" if span else ""
        names.append(f"{key.name} of {key.asset_key.to_user_string()}{where}")
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more


def _override(tags: Mapping[str, str]) -> Override | None:
    by, reason = (tags.get(tag, "") for tag in OVERRIDE_TAGS)
    if not by and not reason:
        return None
    try:
        return Override(by=by, reason=reason)
    except ValidationError:
        raise dg.Failure(
            f"An override needs a name (the run's tag {OVERRIDE_TAGS[0]}, up to 100 characters) and a reason "
            f"({OVERRIDE_TAGS[1]}, 10 to 1,000 characters on one line); got {by!r} and {reason!r}.",
            allow_retries=False,
        ) from None
