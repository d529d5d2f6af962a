"""Whatever is wrong with a drop of files is told, nothing wrong goes downstream, and a mended file brings all back."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from cartograph.lake import Lake
from cartograph.settings import load_settings
from cartograph.shops import Shop, load_shop
from cartograph.windows import Window, at_midnight, windows
from ecom_assets.components.load_checks import load_checks
from ecom_assets.contracts import CONTRACTS
from ecom_assets.contracts.validation import EXACT_DUPLICATE, ContractError
from ecom_assets.defs.ingestion.shop_sources import source_component
from ecom_assets.ingestion import Batch, load, quarantine_table, raw_table
from ecom_assets.quality.policy import dataset_policy
from ecom_assets.sources import SourceError
from tests.faults.drops import (
    DATASETS,
    END,
    FAULTS,
    MONTH,
    Fault,
    Outcome,
    write_drops,
)

HOW = {"grain": "monthly", "batch": Batch(datetime(2024, 5, 2, tzinfo=UTC), "test"), "late_limit": timedelta(hours=48)}
LAST = Window(at_midnight(MONTH), at_midnight(END))


@dataclass
class Drops:
    """The shop with its files, its lake, and each dataset's rows as they should be."""

    root: Path
    shop: Shop
    lake: Lake
    good: dict[str, pa.Table] = field(default_factory=dict)

    def load(self, dataset: str, span: Window) -> list[dg.AssetCheckResult]:
        """Load a dataset from the files as they are now; what its checks found."""
        contract, settings = CONTRACTS[dataset], self.lake.settings
        reader = source_component(self.shop.sources[0], self.shop).reader(self.shop)
        asked = list(windows(span.start, span.end, "monthly"))
        report = load(self.lake, reader, contract, asked, shop_window=self.shop.span, **HOW)
        policy = dataset_policy(self.shop.quality, dataset)
        limit = settings.quarantine_limit_pct
        return list(load_checks(report, self.lake, contract, span, self.shop.span, limit, policy))

    def mend(self, dataset: str) -> None:
        """Put the dataset's files back as they should be."""
        shutil.rmtree(self.root / "drops" / dataset)
        shutil.copytree(self.root / "good" / dataset, self.root / "drops" / dataset)

    def rows(self, dataset: str) -> pa.Table:
        """The rows that the lake has."""
        names = ", ".join(CONTRACTS[dataset].names)
        with self.lake.connect() as connection:
            return connection.execute(
                f"SELECT {names} FROM ({self.lake.relation_sql(raw_table(dataset))})"
            ).to_arrow_table()

    def differences(self, dataset: str) -> tuple[int, int]:
        """How many rows the lake has that it should not have, and how many it lacks."""
        with self.lake.connect() as connection:
            connection.register("good", self.good[dataset])
            connection.register("now", self.rows(dataset))
            ((wrong, lacking),) = connection.execute(
                """
                SELECT (SELECT count(*) FROM (FROM now EXCEPT ALL FROM good)),
                    (SELECT count(*) FROM (FROM good EXCEPT ALL FROM now))"""
            ).fetchall()
        return wrong, lacking

    def quarantined(self, dataset: str) -> Counter[str]:
        """The rows in the quarantine, by reason."""
        with self.lake.connect() as connection:
            table = self.lake.relation_sql(quarantine_table(dataset))
            return Counter(dict(connection.execute(f"SELECT reason, count(*) FROM ({table}) GROUP BY ALL").fetchall()))


@pytest.fixture(scope="module")
def drops(tmp_path_factory: pytest.TempPathFactory) -> Drops:
    root = tmp_path_factory.mktemp("drops")
    write_drops(root)
    shutil.copytree(root / "drops", root / "good")
    settings = load_settings(home=root / "home", shop="drops", shops_dir=root / "shops")
    shop = load_shop(settings)
    made = Drops(root, shop, Lake.from_settings(settings))
    for dataset in DATASETS:
        failed = [check.check_name for check in made.load(dataset, shop.span) if not check.passed]
        assert failed == [], f"{dataset} is as it should be"
        assert not made.quarantined(dataset)
        made.good[dataset] = made.rows(dataset)
    return made


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_told_and_goes_no_further(drops: Drops, fault: Fault) -> None:
    fault.damage(drops.root / "drops" / fault.dataset)
    span = drops.shop.span if fault.whole else LAST
    told, outcome = what_became(drops, fault, span)
    try:
        assert fault.told_by in {*told, ""}, f"told by {sorted(told)}"
        assert outcome == fault.outcome, f"told by {sorted(told)}"
    finally:
        drops.mend(fault.dataset)
        failed = [check for check in drops.load(fault.dataset, span) if not check.passed]
    assert {str(check.check_name) for check in failed} <= {"nothing_vanished"}, (
        "the mended file is loaded, and nobody edits anything"
    )
    assert drops.differences(fault.dataset) == (0, 0), "no good row is lost, none is doubled"
    assert not drops.quarantined(fault.dataset)


def what_became(drops: Drops, fault: Fault, span: Window) -> tuple[set[str], Outcome]:
    """Who tells of the fault, and what became of the rows: none of them wrong where they go downstream."""
    try:
        checks = drops.load(fault.dataset, span)
    except (SourceError, ContractError):
        return {"the run's error"}, "kept back"
    failed = {str(check.check_name): check for check in checks if not check.passed}
    reasons = drops.quarantined(fault.dataset)
    told = {*failed, *reasons}
    if any(check.severity == dg.AssetCheckSeverity.ERROR for check in failed.values()):
        return told, "kept back"
    wrong, lacking = drops.differences(fault.dataset)
    assert wrong == 0, f"{wrong} wrong rows would be published"
    set_aside = sum(rows for reason, rows in reasons.items() if reason != EXACT_DUPLICATE)
    assert lacking <= set_aside, "a good row is missing that the quarantine does not have"
    return told, "set aside" if set_aside else "harmless"
