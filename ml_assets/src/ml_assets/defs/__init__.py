"""The definitions of code location 2, found by their place in this folder: thin assets over `ml_assets.core`."""
