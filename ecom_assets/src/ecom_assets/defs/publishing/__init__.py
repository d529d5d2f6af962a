"""The published marts as assets."""
