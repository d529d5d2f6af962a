"""The effect of one more unit of a treatment that is an amount, and whether to believe it: `assess` says both.

A treatment of few levels is the business of `ml_assets.core.causal.levels`.
"""
