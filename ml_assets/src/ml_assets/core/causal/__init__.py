"""Causal questions: panels of treatment, outcome and confounders, effects with intervals, and when not to believe them.

What a customer will do without being asked belongs in `ml_assets.core.models`.
"""
