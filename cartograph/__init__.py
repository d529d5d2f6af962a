"""The kernel: settings, contracts, windows, shops, the lake, releases and the command line.

Nothing here imports Dagster outside `cartograph.cli`; datasets and models live in `ecom_assets` and `ml_assets`.
"""
