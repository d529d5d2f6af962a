"""The service: answers from one release at a time, and what it was told since, over HTTP. It trains nothing."""
