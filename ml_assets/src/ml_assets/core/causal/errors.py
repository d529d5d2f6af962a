"""What is wrong with a causal question that a user asks of a file."""


class CausalFileError(ValueError):
    """The file, or what is asked of it, cannot be used. The message says which column and the cure."""
