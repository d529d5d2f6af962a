"""Dagster Components of this code location: what a shop brings as a YAML file and gets as assets and checks.

A component declares assets from attributes; what these mean belongs in `ml_assets.core`.
"""

from ml_assets.components.causal_question import CausalQuestion
from ml_assets.components.customer_model import CustomerModel
from ml_assets.components.experiment import RandomisedExperiment

__all__ = ["CausalQuestion", "CustomerModel", "RandomisedExperiment"]
