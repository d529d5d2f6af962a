from pathlib import Path

import httpx
import pytest

from cartograph.releases.contents.causal import EffectCheck
from cartograph.releases.contents.experiments import EXPERIMENTS, ExperimentEstimate, ExperimentResult
from cartograph.releases.contents.files import EXPERIMENTS_FILE
from cartograph.settings import Settings
from tests.api.making import AS_OF, PICTURE, problem, publish, service

ESTIMATE = ExperimentEstimate(
    metric="orders", kind="mean", role="primary", unit="orders per customer", variant="treatment",
    n_control=1000, n_variant=1010, control_mean=0.5, variant_mean=0.6, effect=0.1, ci_low=0.05, ci_high=0.15,
    relative_effect=0.2, relative_low=0.1, relative_high=0.3, always_low=0.02, always_high=0.18, p_value=0.001,
    adjusted_p_value=0.002, always_p_value=0.01, variance_reduction=0.3, detectable_effect=0.07,
    detectable_relative_effect=0.14,
)  # fmt: skip


def make_experiment(**changes: object) -> ExperimentResult:
    defaults: dict[str, object] = {
        "name": "checkout_redesign",
        "description": "A checkout on one page.",
        "state": "complete",
        "control": "control",
        "variants": {"control": 1000, "treatment": 1010},
        "starts": AS_OF,
        "ends": AS_OF,
        "as_of": AS_OF,
        "confidence_level": 0.95,
        "correction": "holm",
        "integrity": (EffectCheck(name="sample_ratio_holds", passed=True, detail="p = 0.8"),),
        "warnings": (),
        "estimates": (ESTIMATE,),
        "segments": (),
        "verdict": "ship",
        "choice": "treatment",
        "reasons": ("orders +20 %",),
        "memo": "# Checkout redesign\n\n**Ship treatment.**\n",
    }
    return ExperimentResult(**{**defaults, **changes})  # type: ignore[arg-type]


INVALID = make_experiment(name="broken", verdict="invalid", choice=None, estimates=())


@pytest.fixture
def released(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    told = {EXPERIMENTS_FILE: EXPERIMENTS.dump_json((make_experiment(), INVALID))}
    publish(settings, replaced=told | {"experiments/checkout_redesign/effects.svg": PICTURE})
    return settings


def test_experiments_are_listed_with_their_decisions(released: Settings) -> None:
    with service(released) as client:
        document = client.get("/v1/experiments").json()
    assert document["as_of"] == "2026-01-01"
    assert [(one["name"], one["verdict"], one["choice"]) for one in document["experiments"]] == [
        ("checkout_redesign", "ship", "treatment"),
        ("broken", "invalid", None),
    ]
    assert "memo" not in document["experiments"][0]


def test_one_comes_with_its_estimates_and_memo_and_an_unknown_one_is_a_problem(released: Settings) -> None:
    with service(released) as client:
        document = client.get("/v1/experiments/checkout_redesign").json()
        invalid = client.get("/v1/experiments/broken").json()["experiment"]
        unknown = client.get("/v1/experiments/nothing")
    assert document["experiment"] == make_experiment().model_dump(mode="json")
    assert document["experiment"]["memo"].startswith("# Checkout")
    assert (invalid["verdict"], invalid["estimates"]) == ("invalid", [])
    assert "it has checkout_redesign, broken" in problem(unknown, 404, "no-experiment")["detail"]


def test_the_pictures_of_a_memo_are_beneath_it(released: Settings) -> None:
    with service(released) as client:
        found = client.get("/v1/experiments/checkout_redesign/effects.svg")
        unknown = client.get("/v1/experiments/checkout_redesign/sequence.svg")
    assert (found.headers["content-type"], found.content) == ("image/svg+xml", PICTURE)
    problem(unknown, 404, "no-picture")


def test_a_shop_without_experiments_has_none(client: httpx.Client) -> None:
    assert client.get("/v1/experiments").json()["experiments"] == []
    problem(client.get("/v1/experiments/checkout_redesign"), 404, "no-experiment")


def test_a_file_of_another_form_is_not_served(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced={EXPERIMENTS_FILE: b'[{"name": "half"}]'})
    with service(settings) as client:
        assert client.get("/v1/experiments").status_code == 503
