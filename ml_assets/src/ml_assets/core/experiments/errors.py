"""What is wrong with an experiment's file."""


class ExperimentError(ValueError):
    """An experiment's file cannot be used. The message names the file, the key and the cure."""
