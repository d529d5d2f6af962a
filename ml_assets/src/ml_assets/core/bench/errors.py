"""What is wrong with the data that a user gave."""


class BenchDataError(ValueError):
    """The file is not there, is not in the documented format, or holds too little. The message says which and where."""
