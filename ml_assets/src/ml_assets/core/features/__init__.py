"""What is known of a customer on an as-of date, and of an order when it is placed: the catalogues of features, their
computation, the guards against leaks.

Labels belong to the model that predicts them (`ml_assets.core.models`).
"""
