"""Causal questions, each a YAML file: its form, the panel that it is answered on, the decision memo and its pictures.

How an effect is estimated and refuted belongs in `ml_assets.core.causal`.
"""
