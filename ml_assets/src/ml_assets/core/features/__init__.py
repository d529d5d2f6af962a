"""What is known of a customer on an as-of date: the catalogue of features, their computation, the guard against leaks.

Labels belong to the model that predicts them (`ml_assets.core.models`).
"""
