"""How much each feature moves a prediction: what a release needs for it (`making`), and its split (the others)."""
