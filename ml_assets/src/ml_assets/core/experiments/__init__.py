"""Randomised experiments: whether the assignment is sound, what each variant did to each metric, and what to decide.

Effects of what was not drawn at random belong in `ml_assets.core.causal`.
"""
