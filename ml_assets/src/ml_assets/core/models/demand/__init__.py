"""The demand forecast: how much of each product is asked for in each of the next periods, and what to order for it.

A panel of series, its features as of an origin, one forecaster for all series, the statistical baselines, and reorder
advice. Scores and backtest windows are in `ml_assets.core.evaluation.forecasting`.
"""
