"""The causal questions of the settings' folder as components, and what those about one unit share.

What a component makes belongs there. A file that cannot be used becomes an asset that fails with the reason, upstream
of the release as an answer is: all else runs. A question whose data the shop does not deliver is left out, and
`cartograph status` says why.
"""

import re
from datetime import timedelta

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from ml_assets.components.causal_question import (
    CUSTOMERS_KEY,
    WEEKS_KEY,
    CausalQuestion,
    answer_key,
    has_policy,
    policy_key,
    reads,
)
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.questions.asked import NAME, Asked
from ml_assets.core.questions.customers import feature_contract, features_at
from ml_assets.core.questions.folder import QuestionFile, question_files
from ml_assets.core.questions.form import CustomerQuestion
from ml_assets.core.questions.lacking import lacking
from ml_assets.core.questions.posed import Data
from ml_assets.core.questions.product_weeks import CONTRACT as PRODUCT_WEEK
from ml_assets.core.questions.product_weeks import LONGEST_DAYS, product_weeks
from ml_assets.core.questions.products import ProductQuestion
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import (
    CUSTOMERS_AS_OF,
    FEATURES,
    PRODUCT_WEEKS,
    delivered,
    depends_on,
    feature_marts,
    open_lake,
    pin,
    plain_failures,
    published,
)
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import data_end

TAKEN = frozenset({"customers_as_of", "product_weeks"})
"""Names of assets of this group that are no questions."""


def questions() -> list[Asked]:
    """The questions of the folder that this shop has all marts for."""
    files = question_files(get_settings())
    datasets = load_shop(get_settings()).datasets
    return [file.question for file in files if file.question and not lacking(file.question, datasets)]


def unusable() -> list[QuestionFile]:
    """The files of the folder that are no questions."""
    return [file for file in question_files(get_settings()) if file.question is None]


def unusable_key(file: QuestionFile) -> dg.AssetKey:
    """The key of the asset that fails in the place of the answer: the answer's own, where that can be one."""
    stem = file.path.stem
    if re.fullmatch(NAME, stem) and stem not in TAKEN:
        return answer_key(stem)
    return answer_key(f"unusable_{re.sub(r'[^a-z0-9]+', '_', file.path.name.lower())}")


def answer_keys() -> list[dg.AssetKey]:
    """The assets that the folder gives a release."""
    asked = questions()
    policies = [policy_key(question.name) for question in asked if has_policy(question)]
    return [*(answer_key(question.name) for question in asked), *policies, *map(unusable_key, unusable())]


def unusable_asset(file: QuestionFile) -> dg.AssetsDefinition:
    """The asset in the place of an answer whose file cannot be used."""

    @dg.asset(
        key=unusable_key(file),
        kinds={"yaml"},
        tags={"domain": "causal"},
        description=f"The file {file.path.name} cannot be used. {file.problem}",
    )
    def _unusable() -> None:
        raise dg.Failure(f"{file.problem} `cartograph causal check` says when it can be used.", allow_retries=False)

    return _unusable


def of_customers() -> list[CustomerQuestion]:
    """The questions about customers."""
    return [question for question in questions() if isinstance(question, CustomerQuestion)]


def customer_marts() -> tuple[str, ...]:
    """The marts that the features and the treatments of the questions about customers are read from."""
    treatments = [mart for question in of_customers() for mart in question.marts]
    return tuple(dict.fromkeys((*feature_marts(), *delivered(treatments))))


def customers_as_of() -> dg.AssetsDefinition:
    """The asset of the customers' features on the days that questions ask about: one query for all of them."""

    @dg.asset(
        key=CUSTOMERS_KEY,
        deps=[FEATURES_KEY, *depends_on(customer_marts())],
        kinds={"duckdb", "iceberg"},
        tags={"domain": "customer"},
        description=(
            "What was known of each registered customer on each day that a causal question asks about: the features of "
            "`features/customer_features`, on the very days of the treatments."
        ),
    )
    def _customers_as_of() -> dg.MaterializeResult:
        lake, shop = open_lake(), load_shop(get_settings())
        with plain_failures():
            inputs = pin(lake, [FEATURES, *published(customer_marts())])
            columns = feature_contract(feature_marts())
            with lake.connect() as con:
                end = data_end(as_of_dates(con, inputs.selects["customer_features"]))
                marts = {mart: inputs.selects[mart] for mart in customer_marts()}
                rows = features_at(Data(con, marts, lake.connect_shut_in, end, shop.currency), of_customers())
            lake.ensure(CUSTOMERS_AS_OF, columns, None)
            with lake.overwriting(CUSTOMERS_AS_OF, None) as writer:
                writer.write(rows.cast(columns.arrow_schema()))
        return dg.MaterializeResult(metadata=table_metadata(columns, len(rows), inputs.snapshots))

    return _customers_as_of


def of_products() -> list[ProductQuestion]:
    """The questions about weeks of products."""
    return [question for question in questions() if isinstance(question, ProductQuestion)]


def weeks_of_products() -> dg.AssetsDefinition:
    """The asset of the weeks of products: one query for all questions about them."""
    marts = tuple(dict.fromkeys(mart for question in of_products() for mart in reads(question)))

    @dg.asset(
        key=WEEKS_KEY,
        deps=[FEATURES_KEY, *depends_on(marts)],
        kinds={"duckdb", "iceberg"},
        tags={"domain": "product"},
        description=(
            "What each product sold in each whole week of the last two years, at which price and discount, whether it "
            "was in stock, and what was known before."
        ),
    )
    def _product_weeks() -> dg.MaterializeResult:
        lake = open_lake()
        with plain_failures():
            inputs = pin(lake, [FEATURES, *published(marts)])
            with lake.connect() as con:
                end = data_end(as_of_dates(con, inputs.selects["customer_features"]))
                start = end - timedelta(days=LONGEST_DAYS)
                rows = product_weeks(con, {mart: inputs.selects[mart] for mart in marts}, start, end)
            lake.ensure(PRODUCT_WEEKS, PRODUCT_WEEK, None)
            with lake.overwriting(PRODUCT_WEEKS, None) as writer:
                writer.write(rows)
        return dg.MaterializeResult(metadata=table_metadata(PRODUCT_WEEK, len(rows), inputs.snapshots))

    return _product_weeks


def question_defs(context: dg.ComponentLoadContext) -> dg.Definitions:
    """The assets and checks of the folder's files."""
    made = [
        CausalQuestion(name=question.name, content=content_of(question)).build_defs(context) for question in questions()
    ]
    shared = [*([customers_as_of()] if of_customers() else []), *([weeks_of_products()] if of_products() else [])]
    return dg.Definitions.merge(*made, dg.Definitions(assets=[*shared, *map(unusable_asset, unusable())]))


def content_of(question: Asked) -> dict[str, object]:
    """The keys of the question's file."""
    return question.model_dump(exclude={"name"}, exclude_unset=True)


@dg.definitions
def defs(context: dg.ComponentLoadContext) -> dg.Definitions:
    """The assets and checks of the folder's files."""
    return question_defs(context)
