"""Whether an asset may be published: not while an error that nobody mended stands behind it, whichever run found it.

Nor while it is made of what was made of such rows, and not again since they were mended. Within a run Dagster keeps
back what is downstream of a failed check; this is for the runs that leave the failed asset out. A check that is missing
or older than its data does not keep a publication back, which the release asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import dagster as dg

from cartograph.settings import get_settings
from cartograph.trust.asset_graph import GuardedAsset, assets_behind
from cartograph.trust.causes import failure_by_checks
from cartograph.trust.descent import Heir, heirs, keys_of
from cartograph.trust.gate import checks_of, errors_ever, span_of, standing_results
from cartograph.trust.overrides import override_in, tell_override
from cartograph.windows import Window

_NAMED = 5
Errors = Mapping[dg.AssetCheckKey, tuple[dg.AssetCheckEvaluation, ...]]


class _Look(NamedTuple):
    """The errors that stood when they were looked for, of the checks of the assets that were."""

    run_id: str
    checks: frozenset[dg.AssetCheckKey]
    errors: Errors


_latest_look: list[_Look] = []
_latest_look_back: list[_Look] = []
"""The last look of this process at what stands, and at all errors that there ever were.

A run's publications share them: each of its own would take as long.
"""


def require_sound(context: dg.AssetExecutionContext, window: Window | None) -> dict[str, str]:
    """Hear whether the asset that `context` is of may be published for `window`, None for all of history.

    The metadata of the publication: empty, or in spite of what somebody answers for it.

    Raises:
        Failure: an error of a blocking check of anything that it is made of stands for one of its partitions, or what
            it is made of was made of such rows, and not again since.
    """
    behind = assets_behind(context)
    found = _within(_standing_errors(context, behind), window)
    if found:  # what has passed since the look of another publication counts
        _latest_look.clear()
        found = _within(_standing_errors(context, behind), window)
    held = [] if found else _held(context, behind, window)
    if not found and not held:
        return {}
    override = override_in(context.run.tags)
    named = _named(found) if found else _named_heirs(held)
    name = context.asset_key.to_user_string()
    if override is None and found:
        raise failure_by_checks(
            f"{name} is not published: blocking checks failed, {named}. Mend what they found and load those partitions "
            f"again, with what comes after them: `{_again(found.values())}`; who answers for it says --override-by and "
            "--override-reason.",
            found,
        )
    if override is None:
        raise dg.Failure(
            f"{name} is not published: {named}. Mend what was found where it is not yet, and make again what is made "
            f"of it: `{_again(one.error for one in held)}`; who answers for it says --override-by and "
            "--override-reason.",
            allow_retries=False,
        )
    tell_override(context, f"published in spite of {named}, by {override.by}: {override.reason}")
    return {"in_spite_of": named, "override_by": override.by, "override_reason": override.reason}


def _standing_errors(context: dg.AssetExecutionContext, behind: Iterable[GuardedAsset]) -> Errors:
    """The errors that stand of the blocking checks of the assets `behind`."""

    def look(keys: Sequence[dg.AssetCheckKey]) -> Errors:
        stands = standing_results(context.instance, keys)
        return {key: found.errors for key, found in stands.items() if found.errors}

    return _looked(_latest_look, context.run_id, behind, look)


def _held(context: dg.AssetExecutionContext, behind: Sequence[GuardedAsset], window: Window | None) -> list[Heir]:
    """What holds rows of errors that are not about `window`, or not any more.

    A run that makes all that is behind makes it of what there is now: it need not look back.
    """
    chosen = context.run.asset_selection
    is_whole = chosen is None or {dg.AssetKey.from_user_string(asset.key) for asset in behind} <= chosen
    errors = _standing_errors(context, behind)
    if not is_whole:
        errors = _looked(_latest_look_back, context.run_id, behind, lambda keys: errors_ever(context.instance, keys))
    each = ((key, error) for key, of_check in errors.items() for error in of_check)
    upstream = [dep.asset_key.to_user_string() for dep in context.assets_def.specs_by_key[context.asset_key].deps]
    grain = get_settings().partition_grain
    return list(heirs(context.instance, behind, upstream, keys_of(window, grain), each, grain))


def _looked(
    memory: list[_Look],
    run_id: str,
    behind: Iterable[GuardedAsset],
    look: Callable[[Sequence[dg.AssetCheckKey]], Errors],
) -> Errors:
    """What `look` finds of the blocking checks of the assets `behind`; of each check it is called once in a run."""
    wanted = frozenset(key for key, blocking in checks_of(behind).items() if blocking)
    known = next((one for one in memory if one.run_id == run_id), _Look(run_id, frozenset(), {}))
    if lacking := wanted - known.checks:
        known = _Look(run_id, known.checks | wanted, {**known.errors, **look(sorted(lacking))})
        memory[:] = [known]
    return {key: found for key, found in known.errors.items() if key in wanted}


def _within(errors: Errors, window: Window | None) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
    """Of each check the latest error that is about a partition in `window`, or about one before it.

    A row may look back at earlier ones: a refund at its order, an order at its customer.
    """
    found = {}
    for key, of_check in errors.items():
        about = (error for error in of_check if _reaches(error, window))
        error = next(about, None)
        if error is not None:
            found[key] = error
    return found


def _reaches(error: dg.AssetCheckEvaluation, window: Window | None) -> bool:
    span = span_of(error)
    return span is None or window is None or span[0] < window.end.isoformat()


def _again(errors: Iterable[dg.AssetCheckEvaluation]) -> str:
    """The command that makes everything anew from the first partition in which there are `errors`."""
    spans = [span_of(error) for error in errors]
    starts = [span[0][:10] for span in spans if span is not None]
    return f"cartograph run --from {min(starts)}" if len(starts) == len(spans) else "cartograph run"


def _named(found: Mapping[dg.AssetCheckKey, dg.AssetCheckEvaluation]) -> str:
    names = []
    for key, error in found.items():
        span = span_of(error)
        where = f" for {span[0][:10]} to before {span[1][:10]}" if span else ""
        names.append(f"{key.name} of {key.asset_key.to_user_string()}{where}")
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more


def _named_heirs(held: Sequence[Heir]) -> str:
    told = (
        f"{one.asset} was made of rows in which {_named({one.check: one.error})} found an error, and not again since"
        for one in held
    )
    names = list(dict.fromkeys(told))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more
