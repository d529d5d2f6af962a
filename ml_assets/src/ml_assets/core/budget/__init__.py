"""The advertising budget: what each paid channel adds to a shop's orders, and how to spend on them.

The effect of one campaign on the customers who got it belongs in `ml_assets.core.causal`.
"""
