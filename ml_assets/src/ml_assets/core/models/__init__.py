"""Models: what they predict, how they are trained, and their baselines.

How good a model is belongs in `ml_assets.core.evaluation`; where its versions are kept in `ml_assets.core.registry`.
"""
