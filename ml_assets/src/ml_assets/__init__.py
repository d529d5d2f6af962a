"""Code location 2: features, models, predictions, causal estimates and the release that serves them."""
