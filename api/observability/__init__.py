"""What operators see of the service: metrics, logs and traces. Nothing here decides an answer.

None of it holds what a request was about: a customer's id is in paths and bodies, so only the templates of routes are
told, never paths, queries, bodies or the messages of unexpected errors.
"""
