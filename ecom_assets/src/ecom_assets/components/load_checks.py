"""The checks of a raw dataset: whether all rows are accounted for, and whether they are as the days before were.

They run with the load, on the partitions that it loaded. What is unusual is decided in `ecom_assets.quality`; severity
and thresholds are in the shop's file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import dagster as dg

from cartograph.contracts import Contract
from cartograph.lake import Lake
from cartograph.trust.evidence import SAMPLES, checked
from cartograph.trust.gate import looked_at
from cartograph.windows import Window
from cartograph.words import counted, listed
from ecom_assets.contracts.validation import ORPHAN
from ecom_assets.ingestion import LoadReport, examples, late_rows, raw_table
from ecom_assets.quality.anomalies import (
    Anomaly,
    days_before,
    days_of_history,
    fewest_days,
    stale_days,
    unusual_nulls,
    unusual_values,
    unusual_volumes,
)
from ecom_assets.quality.policy import Breach, ChangesPolicy, DatasetPolicy, Limit, Severity
from ecom_assets.quality.profile import Profile, profile
from ecom_assets.quality.versions import leaps

_ALWAYS = {
    "rows_accounted_for": "Each delivered row is in the lake, merged as an exact duplicate, or in the quarantine.",
    "quarantine_within_limit": "The quarantined share is at most the shop's limit, or CARTOGRAPH_QUARANTINE_LIMIT_PCT.",
    "everything_readable": "No file, page or line was left out as unreadable, and no row for want of a date.",
    "nothing_vanished": "The lake holds at least as many rows of the loaded partitions as before.",
    "columns_are_known": "Each delivered column is in the contract, and each that was delivered before still is.",
    "few_rows_repeat": "Few rows are delivered twice.",
}
_STEADY = {
    "volume_is_usual": "Each day has about as many rows as the same weekday had in the weeks before.",
    "nulls_are_usual": "Each column is empty about as often as in the weeks before.",
    "values_are_usual": "Numbers are as large, and categories mixed, as in the weeks before.",
    "source_is_fresh": "The newest row is as new as the source's rhythm promises.",
}
_VERSIONS = {"changes_are_usual": "Numbers of a new version are about as large as those of the version before it."}
_RECEIVED = {"few_rows_are_late": "Few rows reached the shop long after they happened."}


def load_check_specs(contract: Contract) -> list[dg.AssetCheckSpec]:
    """The checks that a load of the contract's dataset has. All are blocking: an error of any holds the rest back."""
    steady = _STEADY if contract.is_steady else {}
    versions = _VERSIONS if contract.has_versions else {}
    received = _RECEIVED if contract.received_time else {}
    key = dg.AssetKey(["raw", contract.dataset])
    return [
        dg.AssetCheckSpec(name, asset=key, blocking=True, description=description)
        for name, description in {**_ALWAYS, **steady, **versions, **received}.items()
    ]


def load_checks(
    report: LoadReport,
    lake: Lake,
    contract: Contract,
    span: Window,
    shop_window: Window,
    limit_pct: float,
    policy: DatasetPolicy,
) -> Iterator[dg.AssetCheckResult]:
    """The results of the checks of a load of `span`; of days that are not in `shop_window`, nothing is expected.

    `limit_pct` is how much of a dataset may be quarantined where the policy does not say.
    """
    where = looked_at(span)
    days = Window(max(span.start, shop_window.start), min(span.end, shop_window.end))
    for result in (
        _accounted(report),
        _quarantined(report, contract.dataset, policy.quarantine_within_limit.limit(limit_pct)),
        _readable(report, policy.everything_readable.severity),
        _vanished(report, contract.dataset, policy.nothing_vanished.severity),
        _columns(report, policy.columns_are_known.severity),
        _repeats(report, policy),
        *(_daily(lake, contract, days, policy) if contract.is_steady else ()),
        *([_changes(lake, contract, span, policy.changes_are_usual)] if contract.has_versions else ()),
        *([_late(lake, contract, span, policy)] if contract.received_time else ()),
    ):
        yield result._replace(metadata={**result.metadata, **where})


def _accounted(report: LoadReport) -> dg.AssetCheckResult:
    counts = report.counts
    return checked(
        "rows_accounted_for",
        report.is_accounted_for,
        expected=f"{counted(counts.delivered, 'delivered row')} and {report.kept:,} kept",
        found=(
            f"{counts.accepted:,} accepted, {counts.merged:,} merged, {counts.quarantined.total():,} quarantined; "
            f"{report.stored:,} in the lake"
        ),
    )


def _quarantined(report: LoadReport, dataset: str, limit: Limit) -> dg.AssetCheckResult:
    breach = limit.breach(report.counts, report.windows)
    return checked(
        "quarantine_within_limit",
        breach is None,
        expected=f"at most {limit.pct:g} % of the rows, of all and of each partition",
        found=f"{report.counts.quarantined_pct:.2f} %",
        samples=[f"{reason}: {rows:,}" for reason, rows in report.counts.quarantined.most_common()],
        description=None if breach is None else too_many_quarantined(breach, dataset, limit),
    )


def too_many_quarantined(breach: Breach, dataset: str, limit: Limit) -> str:
    """What a person needs to know when too many rows broke the contract: how many, why, where they are, what to do."""
    counts, reasons = breach.counts, breach.counts.quarantined.most_common(3)
    orphans = "Load the parents' partitions first. " if reasons[0][0].startswith(ORPHAN) else ""
    return (
        f"{counts.quarantined.total():,} of {counted(counts.delivered, 'row')} of {dataset} broke the contract "
        f"({breach}, {limit}): "
        f"{', '.join(f'{reason} ({rows})' for reason, rows in reasons)}. {orphans}"
        f"`cartograph shops check` shows examples with their files; all rows are in the lake's quarantine.{dataset}. "
        "Mend the source or its mapping and run again."
    )


def _readable(report: LoadReport, severity: Severity) -> dg.AssetCheckResult:
    unread = [f"{u.name}: {u.reason}. {u.cure}" for u in report.unreadable]
    told = [listed(unread, "; ")] if unread else []
    if report.kept:
        told.append(f"what was loaded earlier and is not delivered now stays: {counted(report.kept, 'row')}")
    if report.unplaced:
        told.append(
            f"without a date that can be read, or outside the shop's dates: {counted(report.unplaced, 'row')}, "
            "not in the quarantine yet, which comes with the shop's first partition. Load it, or correct the source"
        )
    return checked(
        "everything_readable",
        not report.unreadable and not report.unplaced,
        expected="every file or page is readable, and every row's date",
        found=f"{len(report.unreadable)} unreadable"
        + (f", {counted(report.unplaced, 'date')}" if report.unplaced else ""),
        samples=[u.name for u in report.unreadable],
        severity="error" if any(u.lacks_column for u in report.unreadable) else severity,
        description="; ".join(told) or None,
    )


def _vanished(report: LoadReport, dataset: str, severity: Severity) -> dg.AssetCheckResult:
    return checked(
        "nothing_vanished",
        not report.vanished,
        expected="at least as many rows as were loaded before",
        found=f"{counted(report.vanished, 'row')} fewer",
        severity=severity,
        description=(
            f"The source no longer delivers {counted(report.vanished, 'row')} of {dataset} that it delivered before: "
            "the lake's current snapshot is without. If that is not meant, bring the files back and run again."
            if report.vanished
            else None
        ),
    )


def _columns(report: LoadReport, severity: Severity) -> dg.AssetCheckResult:
    counts = report.counts
    found = [f"{name} is new" for name in counts.extra_columns] + [f"{name} is missing" for name in report.lost_columns]
    return checked(
        "columns_are_known",
        not found,
        expected="the columns of the contract, and all that were delivered before",
        found=", ".join(found) or "no other column",
        samples=[*counts.extra_columns, *report.lost_columns],
        severity="error" if report.lost_columns else severity,
    )


def _repeats(report: LoadReport, policy: DatasetPolicy) -> dg.AssetCheckResult:
    repeated = report.counts.repeated
    share, limit = 100 * repeated / max(report.counts.delivered, 1), policy.few_rows_repeat.limit_pct
    return checked(
        "few_rows_repeat",
        share <= limit,
        expected=f"at most {limit:g} % of the rows",
        found=f"{share:.2f} % ({counted(repeated, 'row')}) delivered twice",
        severity=policy.few_rows_repeat.severity,
    )


def _late(lake: Lake, contract: Contract, span: Window, policy: DatasetPolicy) -> dg.AssetCheckResult:
    late = policy.few_rows_are_late
    rows, of, keys = late_rows(lake, contract, span, timedelta(hours=late.hours), SAMPLES)
    share = 100 * rows / max(of, 1)
    return checked(
        "few_rows_are_late",
        share <= late.limit_pct,
        expected=f"at most {late.limit_pct:g} % of the rows more than {late.hours:g} hours late",
        found=f"{share:.2f} % ({counted(rows, 'row')})",
        samples=keys,
        severity=late.severity,
    )


def _changes(lake: Lake, contract: Contract, span: Window, policy: ChangesPolicy) -> dg.AssetCheckResult:
    with lake.connect() as connection:
        changed, of = leaps(connection, lake.relation_sql(raw_table(contract.dataset)), contract, span, policy.ratio)
    is_error = len(changed) >= max(policy.blocking_rows, of * policy.blocking_pct / 100)
    return checked(
        "changes_are_usual",
        not changed,
        expected=f"every number less than {policy.ratio:g} times larger or smaller than in the version before",
        found=f"{len(changed)} of {counted(of, 'version')} that follow another",
        samples=changed[:SAMPLES],
        severity="error" if is_error else policy.severity,
    )


def _daily(lake: Lake, contract: Contract, span: Window, policy: DatasetPolicy) -> Iterator[dg.AssetCheckResult]:
    """The checks that compare the days of `span` with those before."""
    earlier = days_before(policy)
    first = span.start.date() - timedelta(days=earlier)
    days = (span.end.date() - first).days
    looked = range(earlier, days)
    with lake.connect() as connection:
        figures = profile(connection, lake.relation_sql(raw_table(contract.dataset)), contract, first, days)
    unusual: dict[str, Callable[[], list[Anomaly]]] = {
        "volume_is_usual": lambda: unusual_volumes(figures, looked, policy.volume_is_usual),
        "nulls_are_usual": lambda: unusual_nulls(figures, looked, policy.nulls_are_usual),
        "values_are_usual": lambda: unusual_values(figures, looked, policy.values_are_usual),
    }
    history, needed = days_of_history(figures, looked), fewest_days(policy)
    yet = f"; it cannot judge yet, with {history} of {needed} days of history" if history < needed else ""
    for check, look in unusual.items():
        yield _compared(check, look(), lake, contract, getattr(policy, check).severity, usual=f"nothing unusual{yet}")
    yield _fresh(figures, contract, span, policy)


def _compared(
    check: str, anomalies: Sequence[Anomaly], lake: Lake, contract: Contract, severity: Severity, *, usual: str
) -> dg.AssetCheckResult:
    extreme = [anomaly for anomaly in anomalies if anomaly.is_extreme]
    shown = sorted(anomalies, key=lambda anomaly: (not anomaly.is_extreme, -anomaly.day.toordinal()))[:SAMPLES]
    more = f", and {len(anomalies) - SAMPLES} more" if len(anomalies) > SAMPLES else ""
    return checked(
        check,
        not anomalies,
        expected="; ".join(f"{a.day} {a.figure}: {a.expected}" for a in shown) or "as in the weeks before",
        found=("; ".join(f"{a.day} {a.figure}: {a.found}" for a in shown) or usual) + more,
        samples=examples(lake, contract, shown, SAMPLES) if shown else [],
        severity="error" if extreme else severity,
        description="; ".join(f"{a.day} {a.figure}: {a.found}, expected {a.expected}" for a in shown) + more or None,
    )


def _fresh(figures: Profile, contract: Contract, span: Window, policy: DatasetPolicy) -> dg.AssetCheckResult:
    stale, usual = stale_days(figures)
    limit = math.inf if usual is None else policy.source_is_fresh.rhythms * usual
    last = f"a row in the last {limit:g} {'day' if limit == 1 else 'days'} before {span.end.date()}"
    return checked(
        "source_is_fresh",
        stale <= limit,
        expected="rows on a second day, which tells a rhythm" if usual is None else last,
        found="rows up to the last day"
        if not stale
        else f"the newest row of {contract.dataset} is {counted(stale, 'day')} older"
        if figures.rows.any()
        else f"{contract.dataset} has no row from {figures.first} on",
        severity=policy.source_is_fresh.severity,
    )
