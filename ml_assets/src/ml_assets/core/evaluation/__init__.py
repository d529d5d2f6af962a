"""How good a prediction is: scores against what happened, by functions that know no model.

Whether a score is good enough is an asset check's decision (`ml_assets.defs`).
"""
