"""What the routes ask: a loaded release and its parts. No HTTP here; that is `routes` and `problems`."""
