"""What keeps a model from being trained. What is wrong with one that is trained, its checks say (`ml_assets.defs`)."""


class NotEnoughData(ValueError):  # noqa: N818 - names what is the case, as the errors of the kernel do
    """The history is too short or too uniform to learn from. The message says what is there and the cure."""


class TooYoung(NotEnoughData):
    """The history is too short: nothing is wrong, and time mends it."""


class OwnModelError(ValueError):
    """The file of a shop's own model cannot be used. The message names the key, the cause and the cure."""
