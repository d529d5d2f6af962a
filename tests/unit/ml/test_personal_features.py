"""Which released columns are personal data: those that are made of what a contract tags so, and no others."""

import re
from pathlib import Path

from cartograph.releases.contents.tables import CUSTOMER_COLUMNS, RECOMMENDATION_COLUMNS
from ecom_assets.contracts import CONTRACTS
from ml_assets.core.features import customers
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES

TAGGED = {column.name: column.pii for contract in CONTRACTS.values() for column in contract.columns if column.pii}


def test_features_of_customers_read_no_personal_column_that_they_do_not_declare() -> None:
    """Columns keep their names from the raw tables to the marts, so that the SQL names what it reads."""
    source = Path(customers.__file__).read_text(encoding="utf-8")
    assert "is_email_opt_in" in source
    assert "visitor_id" in TAGGED
    read = set(re.findall(r"[a-z_0-9]+", re.sub(r"'[^'\n]*'", "", source))) & TAGGED.keys()
    declared = {feature.pii for feature in CUSTOMER_FEATURES.features if feature.pii}
    assert {TAGGED[name] for name in read} == declared


def test_no_released_column_is_a_personal_one() -> None:
    released = {*CUSTOMER_COLUMNS, *RECOMMENDATION_COLUMNS}
    released |= {feature.name for feature in CUSTOMER_FEATURES.features if feature.pii is None}
    assert released & TAGGED.keys() == set()


def test_a_personal_feature_is_tagged_in_its_table() -> None:
    first, *rest = CUSTOMER_FEATURES.features
    table = CUSTOMER_FEATURES.model_copy(update={"features": (first.model_copy(update={"pii": "birth_date"}), *rest)})
    assert {column.name: column.pii for column in table.contract().columns if column.pii} == {first.name: "birth_date"}
