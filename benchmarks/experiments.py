"""How sure the experiments' core is of itself: false finds, coverage, CUPED, sample ratios, over simulated experiments.

    python benchmarks/experiments.py            one line of JSON
    python benchmarks/experiments.py --table    the same as a table in Markdown

Seeds are fixed; the figures are those of `docs/experiments.md`.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from benchmarks.support.simulated_experiments import (
    EFFECTS,
    KINDS,
    family_errors,
    fixed,
    growing,
    mismatches,
    peeked,
    variance_taken,
)

RUNS, UNITS = 1000, 5600
GROWING_UNITS = 1000
SEED = 20


def bars() -> list[tuple[str, float, str]]:
    """What was measured, its value, and the bar."""
    found: list[tuple[str, float, str]] = []
    for number, (name, drawn) in enumerate(KINDS.items()):
        draw = np.random.default_rng([SEED, number])
        null, planted = drawn(draw, RUNS, UNITS), drawn(draw, RUNS, UNITS, EFFECTS[name])
        once, effect, daily = fixed(null), fixed(planted), peeked(null)
        found += [
            (f"A/A, {name}: false finds, one look", once.significant, "0.04 to 0.06"),
            (f"A/A, {name}: false finds, a look each day", daily.significant, "at most 0.05"),
            (f"A/A, {name}: the same without always-valid intervals", daily.naive, "for comparison"),
            (f"A/B, {name}: the interval has the truth", effect.covers, "0.935 to 0.965"),
            (f"A/B, {name}: the effect is found", effect.significant, "for comparison"),
            (f"A/B, {name}: the daily interval always has the truth", peeked(planted).covers, "at least 0.95"),
        ]
    draw = np.random.default_rng([SEED, 10])
    daily = growing(draw, RUNS, GROWING_UNITS)
    found += [
        ("A/A, orders that go on growing: false finds, a look each day", daily.significant, "at most 0.05"),
        ("A/A, orders that go on growing: without always-valid intervals", daily.naive, "for comparison"),
    ]
    for rho in (0.3, 0.6, 0.9):
        taken = variance_taken(draw, 200_000, rho)
        found.append((f"CUPED, correlation {rho}: share of the variance taken", taken, f"{rho**2:.2f} ± 0.01"))
    found += [
        ("52/48 of 20,000 units: refused", mismatches(draw, RUNS, 20_000, 0.52), "at least 0.95"),
        ("50/50 of 20,000 units: refused", mismatches(draw, 10 * RUNS, 20_000, 0.5), "0.001, at most 0.002"),
        ("5 metrics, 2 variants, no effect: any find, Holm", family_errors(draw, RUNS, 3000, "holm"), "at most 0.06"),
        ("the same without correction", family_errors(draw, RUNS, 3000, "none"), "for comparison"),
    ]
    return found


if __name__ == "__main__":
    begin = time.perf_counter()
    measured = bars()
    if "--table" in sys.argv[1:]:
        print("| measured | value | bar |\n| --- | --- | --- |")
        print("\n".join(f"| {name} | {value:.3f} | {bar} |" for name, value, bar in measured))
    else:
        seconds = round(time.perf_counter() - begin, 1)
        values = {name: round(value, 4) for name, value, _ in measured}
        print(json.dumps({"benchmark": "experiments", "runs": RUNS, "seconds": seconds, "values": values}))
