"""Models that a shop brings itself, each a YAML file: its form, its target's SQL, its estimator, and its question.

The file becomes a `Question` of `ml_assets.core.models.classifier`, and is trained, judged and scored as any other.
"""
