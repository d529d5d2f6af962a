"""The source that simulates a shop, with the assets of its ground truth."""

from collections.abc import Iterator

import dagster as dg

from cartograph.lake import Lake
from cartograph.settings import get_settings
from cartograph.shops import Shop, load_shop
from ecom_assets.components.source_component import OWNERS, SourceComponent, column_schema, origin_key
from ecom_assets.erasure import anonymised, erased_in
from ecom_assets.simulator import TRUTH_CONTRACTS, SimulatedShop, SimulatorConfig


class SimulatorSource(SourceComponent):
    """Rows of a shop whose truth is known, made from a seed; it also writes `truth/*`, which only checks may read."""

    customers: int
    seed: int

    @property
    def kind(self) -> str:
        """The simulator is Python."""
        return "python"

    def reader(self, shop: Shop) -> SimulatedShop:
        """The simulator for the shop's dates. Raises ValueError for a shop without an end."""
        if shop.end is None:
            raise ValueError(f"{shop.file}: a simulated shop needs an end date.")
        return SimulatedShop(SimulatorConfig(customers=self.customers, seed=self.seed, start=shop.start, end=shop.end))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The raw and quarantine assets, and one for each table of truth."""
        simulated = self.reader(load_shop(get_settings()))
        return dg.Definitions.merge(super().build_defs(context), dg.Definitions(assets=[truth_assets(simulated)]))


def truth_assets(simulated: SimulatedShop) -> dg.AssetsDefinition:
    """The assets `truth/*`: what was planted, for checks and tests to compare with."""

    @dg.multi_asset(
        name="truth",
        specs=[
            dg.AssetSpec(
                ["truth", name],
                description=f"{contract.grain} Planted by the simulator; no model may read it.",
                group_name="truth",
                kinds={"python", "iceberg"},
                owners=OWNERS,
                tags={"domain": "truth"},
                metadata={"dagster/column_schema": column_schema(contract)},
                deps=[*map(origin_key, simulated.origins(name))],
            )
            for name, contract in TRUTH_CONTRACTS.items()
        ],
        can_subset=True,
    )
    def _truth(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        lake = Lake.from_settings(get_settings())
        planted, erased = simulated.truth(), erased_in(lake)
        for key in sorted(context.selected_asset_keys):
            name = key.path[-1]
            contract = TRUTH_CONTRACTS[name]
            lake.ensure(f"truth.{name}", contract, None)
            with lake.overwriting(f"truth.{name}", None) as writer:
                writer.write(anonymised(planted[name], contract, erased) if erased else planted[name])
            rows = planted[name].num_rows
            yield dg.MaterializeResult(asset_key=key, metadata={"dagster/row_count": rows})

    return _truth
