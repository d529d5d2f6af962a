"""What every training asset does around its own training: tracking, registration, promotion, abstention.

What is trained, and what its checks ask for, stands in the asset's own module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.evaluation.classification import Scores
from ml_assets.core.evaluation.promotion import Contest, NotComparable, Verdict, judge
from ml_assets.core.models.errors import NotEnoughData, TooYoung
from ml_assets.core.models.export import PARITY
from ml_assets.core.models.report import Caption, CheckLine, Findings, Report
from ml_assets.core.models.training import Exported
from ml_assets.core.registry import CHAMPION, ORIGIN, SNAPSHOT, Form, ModelRegistry, NoModel, Registered, withdrawn
from ml_assets.defs.metadata import SNAPSHOTS, git_commit, markdown_picture, markdown_table, snapshot_metadata

ENOUGH_DATA = "has_enough_data"
"""The check of every training asset that fails, as a warning, where there is too little to train on."""


class Candidate(NamedTuple):
    """A trained model as it would be registered, and how it is held against the champion.

    `parameters` and `findings` are for its card and the UI; without findings there are no pictures and no words in it.
    """

    name: str
    content: bytes
    card: Mapping[str, Any]
    form: Form
    contest: Callable[[Registered], Contest] | None = None
    parameters: Mapping[str, Any] = MappingProxyType({})
    findings: Findings | None = None


def track(
    mlflow_run: Any,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    snapshots: Mapping[str, int],
    **origin: object,
) -> None:
    """Record what the model was made from and how good it is, in the active MLflow run.

    `origin` is what else its recipe needs to make it again, by the names of `registry.ORIGIN`.
    """
    mlflow_run.log_params(dict(parameters))
    mlflow_run.log_metrics(dict(metrics))
    shop = load_shop(get_settings())
    mlflow_run.set_tags(
        {f"{SNAPSHOT}{table}": str(snapshot) for table, snapshot in snapshots.items()}
        | {name: str(value) for name, value in origin.items()}
        | {"git_commit": git_commit() or "unknown", "shop_start": str(shop.start), "shop_end": str(shop.end or "")}
    )


def register(
    registry: ModelRegistry, mlflow_run: Any, candidate: Candidate, checks: Sequence[dg.AssetCheckResult]
) -> str:
    """Register the model and let the gate judge it. Its version.

    It becomes the champion where the verdict says so; else it waits as the challenger, if no check that blocks failed.
    """
    name, run_id = candidate.name, mlflow_run.active_run().info.run_id
    tags = mlflow_run.get_run(run_id).data.tags
    origin = {key: value for key, value in tags.items() if key.startswith(SNAPSHOT) or key in ORIGIN}
    pictures = candidate.findings.pictures if candidate.findings else ()
    report = reported(candidate.findings, candidate.parameters, checks) if candidate.findings else None
    version = registry.register(
        run_id, name, candidate.content, candidate.card, candidate.form, origin, report, pictures
    )
    failed = [one.check_name for one in checks if not one.passed and one.severity == dg.AssetCheckSeverity.ERROR]
    verdict = decide(registry, candidate, version, failed)
    registry.judged(name, version, failed, verdict)
    if verdict.outcome == "promoted":
        registry.promote(
            name,
            version,
            by=f"training run {mlflow_run.dagster_run_id}",
            reason=verdict.reason,
            at=datetime.now(UTC),
            is_gate=True,
            evidence=verdict.evidence,
        )
    elif not failed and version != registry.aliases(name).get(CHAMPION):
        registry.challenge(name, version)
    mlflow_run.set_tags({"model_version": version, "promotion": verdict.outcome})
    shown = {f"picture_{picture.name}": markdown_picture(picture) for picture in pictures}
    told = {"promotion": f"{verdict.outcome}: {verdict.reason}"}
    dg.AssetExecutionContext.get().add_asset_metadata(told | shown)
    return version


def reported(findings: Findings, parameters: Mapping[str, Any], checks: Sequence[dg.AssetCheckResult]) -> Report:
    """The report that is kept with the version that the running asset has trained."""
    blocking = {spec.name for spec in dg.AssetExecutionContext.get().assets_def.check_specs if spec.blocking}
    return Report(
        about=findings.about,
        data=findings.data,
        parameters={name: str(value) for name, value in parameters.items()},
        checks=tuple(line_of(one, is_blocking=one.check_name in blocking) for one in checks),
        groups=findings.groups,
        pictures=tuple(Caption(file=picture.file, text=picture.caption) for picture in findings.pictures),
    )


def line_of(check: dg.AssetCheckResult, *, is_blocking: bool) -> CheckLine:
    """A check of the version in its report: one that only warned has kept nothing back."""
    return CheckLine(
        name=str(check.check_name),
        passed=check.passed,
        blocks=is_blocking and (check.passed or check.severity == dg.AssetCheckSeverity.ERROR),
        expected=str(check.metadata["expected"].value),
        found=str(check.metadata["found"].value),
    )


def decide(registry: ModelRegistry, candidate: Candidate, version: str, failed: Sequence[str]) -> Verdict:
    """What becomes of `version`, which did not pass the checks `failed`."""
    name = candidate.name
    champion = registry.aliases(name).get(CHAMPION)
    if failed:
        return Verdict(outcome="refused", reason=f"it did not pass {', '.join(failed)}")
    if champion is None:
        return Verdict(outcome="promoted", reason="it passed its checks, and there is no champion yet")
    if champion == version:
        return Verdict(outcome="kept", reason="it is the champion already")
    if version in withdrawn(registry.log(name)):
        cure = f"`cartograph models promote {name} {version}` puts it back"
        return Verdict(outcome="kept", reason=f"somebody has put another version in its place; {cure}")
    return compare(registry, candidate, champion)


def compare(registry: ModelRegistry, candidate: Candidate, champion: str) -> Verdict:
    """What a comparison with the version `champion` says; a champion that cannot predict any more has to go."""
    if candidate.contest is None:
        reason = "it passed its checks; models of this kind are not compared with each other"
        return Verdict(outcome="promoted", reason=reason)
    try:
        return judge(candidate.contest(registry.load(candidate.name, champion)))
    except (NotComparable, NotEnoughData) as nothing:
        return Verdict(outcome="kept", reason=f"nothing to compare on: {nothing}")
    except NoModel as broken:
        return Verdict(outcome="promoted", reason=f"it passed its checks, and the champion is of no use: {broken}")


def enough_spec(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that there was enough to train on."""
    return dg.AssetCheckSpec(
        ENOUGH_DATA,
        asset=asset,
        description=(
            "The shop's history is varied enough to train on; if not, there is no new model. A young shop passes, and "
            "the check says how many days are missing."
        ),
    )


def parity_spec(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check of a model's exported form."""
    return dg.AssetCheckSpec(
        "onnx_parity",
        asset=asset,
        blocking=True,
        description=f"The exported model gives the same probabilities, within {PARITY:g} on 20,000 rows or more.",
    )


def leak_spec(asset: dg.AssetKey, measure: str, limit: float) -> dg.AssetCheckSpec:
    """The alarm on a feature that by itself has more than `limit` of what `measure` names."""
    return dg.AssetCheckSpec(
        "no_leaking_feature",
        asset=asset,
        blocking=True,
        description=f"No feature alone has an {measure} above {limit}: such a one knows the answer.",
    )


def parity_result(form: Exported) -> dg.AssetCheckResult:
    """Whether the exported form gives the model's probabilities."""
    return checked(
        "onnx_parity",
        form.parity <= PARITY,
        expected=f"differences of at most {PARITY:g}",
        found=f"a worst difference of {form.parity:.1e} over {form.parity_rows} rows",
        metadata={"worst_difference": form.parity},
    )


def leak_result(alone: Mapping[str, float], measure: str, limit: float) -> dg.AssetCheckResult:
    """Whether a feature alone knows the answer; `alone` holds what each reaches, best first."""
    name, best = next(iter(alone.items()))
    return checked(
        "no_leaking_feature",
        best <= limit,
        expected=f"no feature alone with an {measure} above {limit}",
        found=f"{name} alone has an {measure} of {best:.3f}",
        samples=[name for name, reached in alone.items() if reached > limit],
        metadata={"alone": markdown_table(("feature", f"{measure} alone"), list(alone.items())[:10])},
    )


def tracked(metrics: Mapping[str, float], baselines: Mapping[str, float], form: Exported) -> dict[str, float]:
    """The figures of an exported classifier for its run: its own, its baselines', and how far its export is from it."""
    usual = {f"baseline_{name.replace('.', '_')}": value for name, value in baselines.items()}
    return {**metrics, **usual, "onnx_parity": form.parity}


def described(
    version: str, rows: int, scores: Scores, baselines: Mapping[str, float], snapshots: Mapping[str, int]
) -> dict[str, Any]:
    """What the materialisation of every classifier shows; `rows` are those that it was trained on."""
    return {
        "model_version": version,
        "training_rows": rows,
        "holdout_rows": scores.rows,
        "baselines": markdown_table(("baseline", "value"), [(k, f"{v:.4f}") for k, v in baselines.items()]),
        "calibration": markdown_table(
            ("rows", "predicted", "observed"),
            [(b.rows, f"{b.predicted:.4f}", f"{b.observed:.4f}") for b in scores.bins],
        ),
        SNAPSHOTS: snapshot_metadata(snapshots),
    }


def abstention(context: dg.AssetExecutionContext, mlflow_run: Any, reason: NotEnoughData) -> dg.MaterializeResult:
    """No model, and why. Nothing blocks; checks of a shop that is only too young pass, as they cannot judge yet."""
    is_young = isinstance(reason, TooYoung)
    yet = "cannot judge yet: " if is_young else ""
    mlflow_run.set_tags({"abstained": str(reason)})
    context.log.warning("No model was trained. %s", reason)
    names = [check.name for check in context.selected_asset_check_keys]
    return dg.MaterializeResult(
        metadata={"abstained": str(reason)},
        check_results=[
            checked(
                name,
                is_young,
                expected="a trained model",
                found="none",
                severity="warning",
                description=f"{yet}{reason}" if name == ENOUGH_DATA else f"{yet}no model was trained",
            )
            for name in sorted(names)
        ],
    )
