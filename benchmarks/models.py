"""How good are the models on the simulated shop, over some seeds, and on a real one, against their baselines and bars?

The main job of each shop in a home of its own, through the command line; the figures are those of the champions'
cards, each of a holdout that the model did not learn from, beside those of `support.oracles`. The real shop is Online
Retail, where CARTOGRAPH_ONLINE_RETAIL_FILES says where its files are. `--write` puts the tables into
`docs/model-quality.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.support import oracles
from cartograph.settings import Settings
from ml_assets.core.registry import ModelRegistry

PAGE = Path(__file__).parents[1] / "docs" / "model-quality.md"
HEAD = """# How good the models are

Made by `python benchmarks/models.py --write --seeds {seeds}`. Each figure is of a holdout that the model did not learn
from. The baseline is the best of those that the model's checks name; a bar is what is asked for, – where nothing is.

## The simulated shop

{customers:,} customers and two years; a figure for each of the seeds {seeds}. The oracle knows what the simulator
planted (each customer's rates and tastes, each day's demand, prices and stock, the fraud rings), and not what chance
made of it: nobody who has to learn that from the data can be much better. `tests/model` holds the models to their
oracles on larger shops.

"""
REAL = """
## A real shop

Online Retail: a year of a British wholesaler, 541,909 order lines. The same models are held against
published figures on other data in the [README](../README.md#models-on-a-file-of-yours).

"""
TABLE = """| model | measure | score | oracle | best baseline | bar | reached |
| --- | --- | --- | --- | --- | --- | --- |
"""
FILES = "CARTOGRAPH_ONLINE_RETAIL_FILES"
CUSTOMERS = 5_000

Card = Mapping[str, Any]


class Measure(NamedTuple):
    """A figure of a model's card and its bar; `baseline` names the figure of baselines that `best` picks from.

    The bar of `of_oracle` is known only where the truth is. A figure without a bar is told, and nothing is asked of it.
    """

    model: str
    name: str
    bar: str = "–"
    is_reached: Callable[[float, Card], bool] | None = None
    baseline: str = ""
    best: Callable[..., float] = max
    of_oracle: bool = False


def baselines(card: Card, name: str) -> list[float]:
    """The baselines' figures of that name."""
    return [value for key, value in card["baseline_metrics"].items() if key.endswith(f".{name}")]


def beats(name: str, times: float = 1.0) -> Callable[[float, Card], bool]:
    """Above so many times the baseline whose figure is called `name`, or all whose figure it is."""
    return lambda value, card: value > times * max(named(card, name))


def is_below(name: str, times: float = 1.0) -> Callable[[float, Card], bool]:
    """Below so many times the baseline, likewise."""
    return lambda value, card: value < times * min(named(card, name))


def closes_half_the_gap(value: float, card: Card) -> bool:
    """Nearer to the oracle than to forecasting last week."""
    last_week, oracle = card["baseline_metrics"]["seasonal_naive.weighted_rmsse"], card["oracle"]["weighted_rmsse"]
    return last_week - value >= 0.5 * (last_week - oracle)


def named(card: Card, name: str) -> list[float]:
    """The one baseline figure called `name`, or all that end so."""
    return [card["baseline_metrics"][name]] if "." in name else baselines(card, name)


MEASURES = (
    Measure("churn_classifier", "auc", "above all baselines", beats("auc"), "auc"),
    Measure(
        "churn_classifier",
        "auc",
        "the oracle's less 0.02",
        lambda value, card: value >= card["oracle"]["auc"] - 0.02,
        "auc",
        of_oracle=True,
    ),
    Measure("churn_classifier", "ece", "at most 0.02", lambda value, _: value <= 0.02),
    Measure("purchase_propensity", "auc", "above all baselines", beats("auc"), "auc"),
    Measure("purchase_propensity", "lift_top_decile", "at least 3", lambda value, _: value >= 3),
    Measure("purchase_propensity", "ece", "at most 0.02", lambda value, _: value <= 0.02),
    Measure("customer_lifetime_value", "mae", "0.65 of a customer's own rate", is_below("own_rate.mae", 0.65)),
    Measure("customer_lifetime_value", "mae", "below all baselines", is_below("mae"), "mae", min),
    Measure("customer_lifetime_value", "total_ratio", "1, within 3 %", lambda value, _: abs(value - 1) <= 0.03),
    Measure("customer_lifetime_value", "normalised_gini"),
    Measure("product_recommender", "ndcg@10", "twice popularity", beats("popularity.ndcg@10", 2), "ndcg@10"),
    Measure("product_recommender", "ndcg@10", "above kNN and ALS", beats("ndcg@10"), "ndcg@10"),
    Measure("product_recommender", "recall@20", "twice popularity", beats("popularity.recall@20", 2), "recall@20"),
    Measure("product_recommender", "recall@20", "above kNN and ALS", beats("recall@20"), "recall@20"),
    Measure("product_recommender", "coverage"),
    Measure(
        "demand_forecaster",
        "weighted_rmsse",
        "below all baselines",
        is_below("weighted_rmsse"),
        "weighted_rmsse",
        min,
    ),
    Measure(
        "demand_forecaster",
        "weighted_rmsse",
        "half of the way from last week to the oracle",
        closes_half_the_gap,
        "weighted_rmsse",
        min,
        of_oracle=True,
    ),
    Measure(
        "demand_forecaster",
        "interval_coverage",
        "0.9, within 0.02",
        lambda value, _: abs(value - 0.9) <= 0.02,
    ),
    Measure("order_fraud", "auprc", "above the rules", beats("rules.auprc"), "auprc"),
    Measure(
        "order_fraud",
        "auprc",
        "0.9 of the oracle's",
        lambda value, card: value >= 0.9 * card["oracle"]["auprc"],
        "auprc",
        of_oracle=True,
    ),
    Measure(
        "order_fraud",
        "loss_per_order",
        "below rules and no review",
        is_below("loss_per_order"),
        "loss_per_order",
        min,
    ),
    Measure("order_fraud", "recall_at_1pct_fpr"),
    Measure("customer_segments", "bootstrap_ari", "at least 0.9", lambda value, _: value >= 0.9),
    Measure(
        "campaign_uplift",
        "email_spring.qini",
        "its interval above 0",
        lambda _, card: card["metrics"]["email_spring.qini_low"] > 0,
        "qini",
    ),
)


def main() -> None:
    """Run each seed, print a line for it, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    parser.add_argument("--write", action="store_true", help=f"Write {PAGE.name}.")
    chosen = parser.parse_args()
    simulated = [measured(shop="simulated", simulator_seed=seed) for seed in chosen.seeds]
    real = [measured(shop="online_retail")] if FILES in os.environ else []
    if chosen.write:
        head = HEAD.format(seeds=" ".join(map(str, chosen.seeds)), customers=CUSTOMERS)
        page = [head, *table(simulated), *([REAL, *table(real)] if real else [])]
        PAGE.write_text("".join(page), encoding="utf-8")


def measured(**chosen: object) -> dict[str, Card]:
    """The cards of a shop's champions by model, after the main job in a new home; printed.

    Where the truth is known, a card has the oracle's figures, too.
    """
    with tempfile.TemporaryDirectory() as home:
        given = {"home": home, "simulator_customers": CUSTOMERS, **chosen}
        environment = {f"CARTOGRAPH_{name.upper()}": str(value) for name, value in given.items()}
        command = [sys.executable, "-c", "from cartograph.cli import main; main()", "run"]
        subprocess.run(command, env={**os.environ, **environment}, check=True, stdout=sys.stderr)
        settings = Settings(home=Path(home), shop=str(chosen["shop"]))
        registry = ModelRegistry(settings.resolved_mlflow_uri)
        names = dict.fromkeys(measure.model for measure in MEASURES)
        cards = {name: dict(found.card) for name in names if (found := registry.champion(name))}
        if "simulator_seed" in chosen:
            for name, figures in oracles.scores(settings, CUSTOMERS, int(str(chosen["simulator_seed"]))).items():
                cards[name]["oracle"] = figures
    told = {name: card["metrics"] | {"oracle": card.get("oracle")} for name, card in cards.items()}
    print(json.dumps({"benchmark": "models", **chosen, **told}), flush=True)
    return cards


def table(cards: list[dict[str, Card]]) -> list[str]:
    """The lines of the table of one shop, or of one for each seed."""
    known = [one for one in MEASURES if any(applies(one, shop) for shop in cards)]
    return [TABLE, *(f"{row(measure, cards)}\n" for measure in known)]


def applies(measure: Measure, shop: dict[str, Card]) -> bool:
    """Whether a shop has the model, and what its bar is held against."""
    return measure.model in shop and (not measure.of_oracle or "oracle" in shop[measure.model])


def row(measure: Measure, cards: list[dict[str, Card]]) -> str:
    """A line of the table: a figure of each shop, the oracle's, the best baseline, and how many reach the bar."""
    own = [card[measure.model] for card in cards if measure.model in card]
    scores = [card["metrics"][measure.name] for card in own]
    known = [card["oracle"][measure.name] for card in own if measure.name in card.get("oracle", {})]
    others = [measure.best(baselines(card, measure.baseline)) for card in own] if measure.baseline else []
    reaches = measure.is_reached
    reached = "–"
    if reaches is not None:
        reached = f"{sum(reaches(*each) for each in zip(scores, own, strict=True))} of {len(cards)}"
    return (
        f"| `{measure.model}` | {measure.name} | {_told(scores)} | {_told(known)} | {_told(others)} | {measure.bar} | "
        f"{reached} |"
    )


def _told(values: list[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values) or "–"


if __name__ == "__main__":
    main()
