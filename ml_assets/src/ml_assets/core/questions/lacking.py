"""What a shop lacks for a question: the datasets behind the marts that the question is of no use without."""

from __future__ import annotations

from collections.abc import Collection

from ml_assets.core.datasets import DATASETS
from ml_assets.core.questions.asked import Asked


def lacking(asked: Asked, datasets: Collection[str]) -> list[str]:
    """The datasets that `asked` needs and a shop with `datasets` does not deliver."""
    return sorted({DATASETS[mart] for mart in asked.needs if mart in DATASETS} - set(datasets))


def told(asked: Asked, datasets: Collection[str]) -> str:
    """The same in words; empty where nothing is lacking."""
    missing = lacking(asked, datasets)
    return f"not asked, as the shop does not deliver {', '.join(missing)}" if missing else ""
