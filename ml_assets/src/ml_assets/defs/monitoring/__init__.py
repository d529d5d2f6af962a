"""What is watched of this location."""
