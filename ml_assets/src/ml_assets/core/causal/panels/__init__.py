"""Panel designs: what a roll-out did, where some units got it at some time and others later or never.

Units chosen row by row, with confounders, are the business of `ml_assets.core.causal.assess`.
"""
