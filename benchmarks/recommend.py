"""How good are the recommendations on real sequences? Prints JSON lines: each model's scores, then what they took.

`python benchmarks/recommend.py [file]`: by default the file that BENCH_SEQUENCES_FILE names. The references are
those of S3-Rec (Zhou et al., CIKM 2020) for Amazon's reviews of toys: 19,412 users, 11,924 items, 167,597 actions.
Its popularity counted the test items too, as `popularity_with_test_items` does: the same figures to the digit, which
shows that the protocol is the same.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ml_assets.core.bench.recommend import bench

TOYS = {"users": 19_412, "items": 11_924, "actions": 167_597}
PUBLISHED = {
    "popularity_with_test_items": {"hit_rate@10": 0.0113, "ndcg@10": 0.0061},
    "chosen": {"hit_rate@10": 0.0675, "ndcg@10": 0.0374},
}
"""The reference beside the chosen model is SASRec's."""


def main(path: Path) -> None:
    """Score the models on a file, and print a line for each."""
    found = bench(path, lambda step: print(step, file=sys.stderr))
    is_toys = all(found["data"][name] == value for name, value in TOYS.items())
    for model, scores in found["metrics"].items():
        reference = {"published": PUBLISHED[model]} if is_toys and model in PUBLISHED else {}
        print(json.dumps({"benchmark": f"recommend.{model}", **scores, **reference}))
    costs = {name: found[name] for name in ("seconds", "cpu_seconds", "peak_memory_mb", "parameters")}
    print(json.dumps({"benchmark": "recommend", **found["data"], **costs}))


if __name__ == "__main__":
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BENCH_SEQUENCES_FILE")
    if given is None or not Path(given).is_file():
        print(
            f"skipped: there is no file {given!r}. Give the path of a file of sequences, or set BENCH_SEQUENCES_FILE.",
            file=sys.stderr,
        )
    else:
        main(Path(given))
