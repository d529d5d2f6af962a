"""What becomes of models in use: whether what they are given changed, and how good their predictions turned out.

Statistics stand in `evaluation`; when an asset warns of them is decided in `ml_assets.defs.monitoring`.
"""
