"""Features, models, evaluation, effects and the model registry as plain functions that know no Dagster.

What reads partitions, writes tables or reports to Dagster belongs in `ml_assets.defs`; the API may import from here.
"""
