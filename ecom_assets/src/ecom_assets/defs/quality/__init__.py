"""What is known of the assets' trustworthiness, as assets."""
