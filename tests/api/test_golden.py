"""What the asset graph says that a release must answer is what the service answers, and another release does not."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.ensemble import HistGradientBoostingClassifier

from api.services.golden import differences
from cartograph.erasure import Wanted, scan
from cartograph.releases.contents.base import ShopCard
from cartograph.releases.contents.causal import EFFECTS, POLICIES
from cartograph.releases.contents.files import (
    CHURN_MODEL,
    CLV_CARD,
    CLV_MODEL,
    CUSTOMERS,
    DEMAND,
    DEMAND_REASONS,
    EFFECTS_FILE,
    FRAUD_CARD,
    GOLDEN,
    POLICIES_FILE,
    PRODUCTS,
    RECOMMENDATIONS,
    REORDER,
    SHOP,
    SIMILAR,
)
from cartograph.releases.contents.golden import Golden, GoldenRequest
from cartograph.releases.contents.models import Review
from cartograph.releases.contents.tables import RECOMMENDATION_COLUMNS, SIMILAR_COLUMNS, open_lists
from cartograph.settings import Settings
from ml_assets.core.models import clv
from ml_assets.core.models.export import to_onnx
from ml_assets.core.registry import Registered
from ml_assets.defs.serving.golden import Contents, golden
from ml_assets.defs.serving.recommendations import Recommended
from tests.api.making import (
    AS_OF,
    FEATURES,
    arrow_file,
    classifier,
    demand_files,
    make_advice,
    make_card,
    make_customers,
    make_effect,
    make_forecasts,
    make_fraud_card,
    make_products,
    make_reasons,
    onnx_model,
    product_files,
    publish,
    reason_files,
    service,
)
from tests.api.recommending import batch
from tests.api.test_causal import make_policy
from tests.api.valuing import clv_files, make_clv

SHOP_CARD = ShopCard(name="simulated", title="The simulated shop", currency="EUR")
CARDS = (make_card(), make_fraud_card())
IDS = ["P/1", "P2", "P3"]
EFFECT = make_effect(name="email_winback_spend")


def customers(probability: float = 0.25) -> pa.Table:
    """Of whom one is lost already, one has never ordered, and one has an id that a path must escape."""
    table = make_customers(["C/1", "C1", "C2", "Cé 1"], probability)
    columns = {
        "churn_model_version": pa.array(["3", "3", None, "3"]),
        "clv_model_version": pa.array([None, "7", "7", "7"]),
    }
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    orders = {
        "order_days_count": pa.array([0, 1, 4, 9]),
        "tenure_days": pa.array([None, 3, 300, 380]),
        "spend_amount": pa.array([0.0, 19.9, 260.5, 1200.0]),
    }
    for name, values in orders.items():
        table = table.append_column(name, values)
    return table


def lists(files: Mapping[str, Any], name: str, columns: Mapping[str, pa.DataType]) -> pa.Table:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(files[name])
        table = open_lists(path, columns)
        return pa.table(table.to_pydict(), schema=table.schema)


@pytest.fixture(scope="module")
def contents() -> Contents:
    files = batch().files
    card = make_card(name="product_recommender", version="5", features=())
    recommended = Recommended(
        files["models/product_recommender.arrow"],
        card,
        lists(files, RECOMMENDATIONS, RECOMMENDATION_COLUMNS),
        lists(files, SIMILAR, SIMILAR_COLUMNS),
    )
    models = [Registered(card.name, card.version, onnx_model(), card.model_dump(mode="json")) for card in CARDS]
    clv_card = json.loads(clv_files()[CLV_CARD] or b"")
    models.append(Registered(clv.NAME, "7", make_clv().to_bytes(), clv_card))
    demand = {DEMAND: make_forecasts(IDS), REORDER: make_advice(IDS)}
    return Contents(
        AS_OF,
        SHOP_CARD,
        customers(),
        models,
        recommended,
        make_products(IDS),
        demand,
        make_reasons(IDS),
        [EFFECT],
        [make_policy()],
        [],
    )


def released(settings: Settings, contents: Contents, replaced: Mapping[str, bytes | None] | None = None) -> str:
    files: dict[str, bytes | None] = {
        **product_files(contents.products),
        **demand_files(contents.demand[DEMAND], contents.demand[REORDER]),
        **reason_files(contents.reasons),
        **clv_files(),
        EFFECTS_FILE: EFFECTS.dump_json((EFFECT,)),
        POLICIES_FILE: POLICIES.dump_json((make_policy(),)),
        GOLDEN: golden(contents).model_dump_json().encode(),
        **(replaced or {}),
    }
    return publish(settings, customers=customers(), replaced=files).release_id


def test_the_service_answers_what_the_graph_says_that_it_must(tmp_path: Path, contents: Contents) -> None:
    settings = Settings(home=tmp_path)
    release = released(settings, contents)
    paths = {one.path.split("?")[0] for one in golden(contents).requests}
    assert {"/v1/release", "/v1/predict/churn", "/v1/predict/order_fraud", "/v1/recommendations/session"} <= paths
    assert {"/v1/customers/C%C3%A9%201", "/v1/products/P3"} <= paths
    assert {"/v1/products/P3/demand", "/v1/products/P3/explanations/demand", "/v1/products/P3/reorder"} <= paths
    of_customers = "/v1/causal/policies/email_spring/customers/"
    assert {f"{of_customers}C1", f"{of_customers}C2"} <= paths, "one whom the policy is about, and one whom it is not"
    assert not any("%2F" in path for path in paths), "no path of the service leads there"
    with service(settings) as client:
        ready = client.get("/ready").json()
    assert (ready["release_id"], ready["problem"]) == (release, None), "or a golden request was answered otherwise"


def other_model() -> bytes:
    draw = classifier()
    other = HistGradientBoostingClassifier(max_iter=3, random_state=1).fit([[1, 2, 0], [9, 1, 1]] * 30, [0, 1] * 30)
    return to_onnx(other, "other", draw.n_features_in_)


def other_customers() -> bytes:
    return arrow_file(customers(0.5))


def other_values() -> bytes:
    """Of a model of the same form, by which customers who ordered spend another amount."""
    return make_clv().model_copy(update={"kept_share": 0.92}).to_bytes()


def other_review() -> bytes:
    return make_fraud_card(review=Review(amount="total_amount", cost=1e6)).model_dump_json().encode()


def other_shop() -> bytes:
    return SHOP_CARD.model_copy(update={"currency": "USD"}).model_dump_json().encode()


def other_products() -> bytes | None:
    return product_files(make_products(["P2", "P3"]))[PRODUCTS]


def other_demand() -> bytes | None:
    return demand_files(make_forecasts(["P2", "P3"]), None)[DEMAND]


def other_advice() -> bytes | None:
    return demand_files(make_forecasts(IDS), make_advice(["P2", "P3"]))[REORDER]


def other_reasons() -> bytes | None:
    return reason_files(make_reasons(["P2", "P3"]))[DEMAND_REASONS]


def other_effect() -> bytes:
    return EFFECTS.dump_json((EFFECT.model_copy(update={"estimate": 9.9}),))


def other_policy() -> bytes:
    return POLICIES.dump_json((make_policy(cost=3.0),))


def other_population() -> bytes:
    """With everybody in it, as where nobody looks at who is."""
    table = customers()
    everybody = pa.array([["email_spring"]] * len(table), pa.list_(pa.string()))
    return arrow_file(table.set_column(table.column_names.index("policies"), "policies", everybody))


SPOILT: dict[str, tuple[str, Callable[[], bytes | None]]] = {
    "churn_classifier of given features": (CHURN_MODEL, other_model),
    "customer_lifetime_value of given features, 1: /amount is": (CLV_MODEL, other_values),
    "/purchase/probability is 0.5, not 0.25": (CUSTOMERS, other_customers),
    "/decision is 'accept'": (FRAUD_CARD, other_review),
    "the release: /shop/currency": (SHOP, other_shop),
    "the product P3: /features/units_30d is 1, not 2": (PRODUCTS, other_products),
    "demand for P3: /days/0/mean is 1.0": (DEMAND, other_demand),
    "why P3 is expected to sell as it is: /explanation": (DEMAND_REASONS, other_reasons),
    "reorder advice for P3: /stock is 1.0": (REORDER, other_advice),
    "the policy of email_spring for whom it is about: /cost is 3.0": (POLICIES_FILE, other_policy),
    "the policy of email_spring for whom it is not about: /treat is True, not False": (CUSTOMERS, other_population),
    "the effect of email_winback_spend: /effect/estimate is 9.9": (EFFECTS_FILE, other_effect),
}


def test_who_is_renamed_is_in_no_request(tmp_path: Path, contents: Contents) -> None:
    """Else who is asked for as an example could not be erased: each release would hold them."""
    ids = [f"Zoë Müller-{number} 日本" for number in range(len(contents.customers))]
    table = contents.customers
    renamed = table.set_column(table.column_names.index("customer_id"), "customer_id", pa.array(ids))
    made = golden(contents._replace(customers=renamed))

    def found(written: Golden) -> list[str]:
        (tmp_path / GOLDEN).write_text(written.model_dump_json(), encoding="utf-8")
        return scan([tmp_path], Wanted(frozenset(ids)), duckdb.connect).hits

    assert found(made)
    assert found(made.renamed({customer: f"erased-{number}" for number, customer in enumerate(ids)})) == []


def test_requests_do_not_depend_on_the_order_of_rows(contents: Contents) -> None:
    """A query without an order gives rows in any: the same state of the shop must make the same release."""

    def reversed_rows(table: pa.Table) -> pa.Table:
        return table.take(list(range(len(table)))[::-1])

    assert contents.recommended is not None
    other = contents._replace(
        recommended=contents.recommended._replace(
            customers=reversed_rows(contents.recommended.customers),
            products=reversed_rows(contents.recommended.products),
        ),
        products=reversed_rows(contents.products),
        demand={name: reversed_rows(rows) for name, rows in contents.demand.items()},
        reasons=reversed_rows(contents.reasons),
    )
    assert golden(other) == golden(contents)


@pytest.mark.parametrize("told", SPOILT)
def test_a_file_of_another_release_is_found(tmp_path: Path, contents: Contents, told: str) -> None:
    file, spoil = SPOILT[told]
    settings = Settings(home=tmp_path)
    released(settings, contents, {file: spoil()})
    with service(settings) as client:
        answer = client.get("/ready")
    assert answer.status_code == 503
    assert told in answer.json()["detail"]


def test_given_features_are_such_as_the_model_takes(contents: Contents) -> None:
    asked = [one for one in golden(contents).requests if one.path in {"/v1/predict/churn", "/v1/predict/order_fraud"}]
    assert len(asked) >= 4
    for one in asked:
        assert one.body is not None
        features = one.body["features"]
        assert len(features) == len(FEATURES)
        assert isinstance(features["is_opted_in"], bool)


def test_lifetime_values_are_asked_of_who_has_one(contents: Contents) -> None:
    """Who has never ordered has none, and no range of features makes a customer whose orders fit together."""
    asked = [one for one in golden(contents).requests if one.path == "/v1/predict/lifetime_value"]
    assert [one.body["features"]["order_days_count"] for one in asked if one.body] == [1, 4, 9]
    nobody = contents._replace(customers=contents.customers.slice(0, 1))
    assert not any(one.path == "/v1/predict/lifetime_value" for one in golden(nobody).requests)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.floats(-1e6, 1e6) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values, st.dictionaries(st.just("more"), values))
def test_an_answer_is_as_expected_if_it_is_the_same_or_an_object_with_more(value: Any, more: dict[str, Any]) -> None:
    assert list(differences(value, value, 0.0)) == []
    if isinstance(value, dict) and "more" not in value:
        assert list(differences(value, value | more, 0.0)) == []
        assert len(list(differences(value | {"more": 1}, value, 0.0))) == 1


@pytest.mark.parametrize(
    ("expected", "found", "told"),
    [
        ({"a": 1}, {"a": 2}, "/a is 2, not 1"),
        ({"a": 1}, {"a": True}, "/a is True, not 1"),
        ({"a": None}, {"a": 0}, "/a is 0, not None"),
        ({"a": None}, {}, "/a is missing"),
        ({"a": [1, 2]}, {"a": [1, 2, 3]}, "/a is [1, 2, 3], not a list of 2"),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}, "/a/0/b is 'y', not 'x'"),
        ({"a": {}}, {"a": []}, "/a is [], not an object"),
        ({"a": 0.5}, {"a": 0.5 + 1e-9}, "/a is 0.500000001, not 0.5"),
    ],
)
def test_a_difference_is_named(expected: object, found: object, told: str) -> None:
    assert list(differences(expected, found, 0.0)) == [told]


def test_no_request_tolerates_more_than_sums_of_float32_differ_by() -> None:
    with pytest.raises(ValidationError, match="tolerance"):
        GoldenRequest(name="any", path="/v1/release", answer={}, tolerance=0.01)


def test_a_computed_number_may_differ_by_the_tolerance() -> None:
    assert list(differences({"p": 0.5}, {"p": 0.5 + 9e-7}, 1e-6)) == []
    assert list(differences({"p": 0.5}, {"p": 0.5 + 3e-6}, 1e-6))
