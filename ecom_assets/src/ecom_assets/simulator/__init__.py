"""The simulated shop: a source of all twelve datasets whose truth is known.

What is planted (rates, tastes, prices, effects, fraud) stands in the module of its subject; `shop` delivers the rows,
`truth` what is behind them. Nothing here knows of Dagster, the lake or the clock of the machine.
"""

from ecom_assets.simulator.config import SimulatorConfig
from ecom_assets.simulator.shop import SimulatedShop
from ecom_assets.simulator.truth_contracts import TRUTH_CONTRACTS

__all__ = ["TRUTH_CONTRACTS", "SimulatedShop", "SimulatorConfig"]
