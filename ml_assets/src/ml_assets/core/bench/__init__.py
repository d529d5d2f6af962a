"""The model cores on any file in a documented format, for `cartograph bench`: reading, splitting, metrics.

One module for each kind of data. The models themselves are those that the assets use (`ml_assets.core.models`), and
scores that know no model are in `ml_assets.core.evaluation`.
"""
