"""Are effects found where they can be, and refused where they cannot, over many draws whose truth is known?

`python benchmarks/causal.py --seeds 400` prints a line of Markdown for each study and level: the bias as a share of the
effect, the share of 95 % intervals that hold the truth, that of the naive difference, and the share of seeds in which
the study was accepted. `--json` prints lines of JSON. Hours for 400 seeds of all studies; a minute for three.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import NamedTuple

import numpy as np

from benchmarks.support.planted_studies import STUDIES
from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.effect import SMOOTH, Nuisances
from ml_assets.core.causal.finding import Finding
from ml_assets.core.causal.study import Design

HEAD = """| study | contrast | seeds | accepted | bias | coverage | naive bias | naive coverage | refused by | s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


class Line(NamedTuple):
    """What became of a contrast of a study over the seeds; shares and biases are of 1, biases of the effect."""

    study: str
    contrast: str
    seeds: int
    accepted: float
    bias: float | None
    bias_error: float | None
    coverage: float | None
    naive_bias: float | None
    naive_coverage: float | None
    refused_by: dict[str, int]
    seconds: float

    @property
    def markdown(self) -> str:
        """The line of the table."""
        bias = "–" if self.bias is None else f"{self.bias:+.1%} ± {self.bias_error:.1%}"
        shares = ["–" if s is None else f"{s:.1%}" for s in (self.coverage, self.naive_bias, self.naive_coverage)]
        why = ", ".join(f"{name} {count}" for name, count in self.refused_by.items()) or "–"
        return (
            f"| {self.study} | {self.contrast} | {self.seeds} | {self.accepted:.1%} | {bias} | {shares[0]} | "
            f"{shares[1]} | {shares[2]} | {why} | {self.seconds:.1f} |"
        )


def measured(name: str, seeds: range) -> list[Line]:
    """The lines of a study, one for each level; estimates count whether or not they were accepted."""
    start = time.process_time()
    found: list[tuple[Finding, tuple[float, ...] | None]] = []
    for seed in seeds:
        study, design, truth = STUDIES[name](seed)
        found.append((assess(study, design, nuisances_of(design)), truth))
    seconds = (time.process_time() - start) / len(seeds)
    refused: dict[str, int] = {}
    for one, _ in found:
        for gate in one.gates:
            if not gate.passed:
                refused[gate.name] = refused.get(gate.name, 0) + 1
    accepted = float(np.mean([one.identified for one, _ in found]))
    truths = found[0][1]
    if truths is None:
        return [Line(name, "–", len(seeds), accepted, None, None, None, None, None, refused, seconds)]
    lines = []
    for level, truth in enumerate(truths):
        answers = [one.estimates[2 * level] for one, _ in found if one.estimates]
        naive = [(one.naives[level].estimate if one.naives else one.naive) for one, _ in found]
        plain = [estimate for estimate in naive if estimate]
        errors = np.array([answer.estimate.ate - truth for answer in answers])
        lines.append(
            Line(
                name,
                answers[0].contrast,
                len(seeds),
                accepted,
                float(errors.mean() / truth),
                float(errors.std() / np.sqrt(len(errors)) / abs(truth)),
                float(np.mean([answer.estimate.holds(truth) for answer in answers])),
                float(np.mean([estimate.ate - truth for estimate in plain]) / truth),
                float(np.mean([estimate.holds(truth) for estimate in plain])),
                refused,
                seconds,
            )
        )
    return lines


def nuisances_of(design: Design) -> Nuisances | None:
    """Smooth nuisances, which suffice for what is drawn here; real treatments have their own."""
    return None if design.kind == "continuous" else SMOOTH


def main() -> None:
    """Measure the studies that were asked for, and print each as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="How many.")
    parser.add_argument("--first", type=int, default=0, help="The first of them.")
    parser.add_argument("--studies", nargs="+", default=list(STUDIES), choices=list(STUDIES))
    parser.add_argument("--json", action="store_true", help="Lines of JSON.")
    asked = parser.parse_args()
    if not asked.json:
        print(HEAD, flush=True)
    for name in asked.studies:
        for line in measured(name, range(asked.first, asked.first + asked.seeds)):
            told = json.dumps({"benchmark": "causal", **line._asdict()}) if asked.json else line.markdown
            print(told, flush=True)


if __name__ == "__main__":
    main()
