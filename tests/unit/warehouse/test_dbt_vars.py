"""What a shop may choose of its warehouse: which vars there are, and what each takes."""

from pathlib import Path

import pytest

from cartograph.shops import ShopError, load_shop
from ecom_assets.warehouse.dbt_vars import DbtVars, defaults, require_known_vars, with_vars
from tests.unit.warehouse.making import tiny_shop


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["build", "--select", "dim_dates"], ["build", "--select", "dim_dates", "--vars", '{"holiday_country": "GB"}']),
        (["run", "--vars", "holiday_country: FR"], ["run", "--vars", '{"holiday_country": "FR"}']),
        (
            ["run", "--vars={fiscal_year_start_month: 4}", "-s", "x"],
            ["run", "-s", "x", "--vars", '{"holiday_country": "GB", "fiscal_year_start_month": 4}'],
        ),
        (["--version"], ["--version"]),
        ([], []),
    ],
)
def test_dbt_is_given_the_vars_of_the_shop_and_those_of_the_command_before_them(arguments, called):
    assert with_vars(arguments, {"holiday_country": "GB"}) == called


def test_without_vars_dbt_is_called_as_it_is_and_one_that_it_does_not_have_is_named():
    assert with_vars(["build", "--select", "x"], {}) == ["build", "--select", "x"]
    assert with_vars(["run", "--vars", "no mapping"], {}) == ["run", "--vars", "no mapping"]
    with pytest.raises(
        ShopError, match=r"--vars: there is no dbt var rfm_recency_dayz\. Do you mean rfm_recency_days\?"
    ):
        with_vars(["run", "--vars", "{rfm_recency_dayz: [1]}"], {})


def test_a_var_that_dbt_does_not_have_is_named_with_what_may_be_meant(tmp_path: Path):
    settings = tiny_shop(tmp_path)
    file = settings.resolved_shops_dir / "tiny.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "dbt_vars: {holidays_country: GB}\n", encoding="utf-8")
    with pytest.raises(ShopError, match=r"dbt_vars: there is no dbt var holidays_country\. Do you mean holiday_"):
        require_known_vars(load_shop(settings))


def test_each_var_of_the_project_has_a_form_and_its_default_has_it():
    assert DbtVars.model_fields.keys() == defaults().keys()
    DbtVars.model_validate(defaults())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "holiday_country: XX",
            "holiday_country: 'XX' will not do: the seed `holidays` has none of it; it has AE,",
        ),
        ("holiday_country: 49", r"holiday_country: 49 will not do: .* By default it is 'DE'\."),
        ("fiscal_year_start_month: 13", "fiscal_year_start_month: 13 will not do: .*less than or equal to 12"),
        ("fiscal_year_start_month: '4'", "fiscal_year_start_month: '4' will not do"),
        ("rfm_recency_days: [30, 90, 180, 365]", "each bound must be less than the one before it"),
        ("rfm_recency_days: [365, 180]", r"rfm_recency_days: \[365, 180\] will not do: "),
        ("customer_value_band_amount: [500, 150]", "each bound must be more than the one before it"),
        ("discount_bands_pct: []", "discount_bands_pct: "),
        ("discount_bands_pct: [10, 200]", "discount_bands_pct: .* less than or equal to 100"),
        ("market_basket_min_support: 2", "market_basket_min_support: 2 will not do"),
        ("session_gap_minutes: 1440", "session_gap_minutes: 1440 will not do: .*less than 1440"),
        ("category_affinity_prior_amount: .inf", "category_affinity_prior_amount: inf will not do: .*finite"),
        ("payment_due_days: true", "payment_due_days: True will not do"),
    ],
)
def test_a_value_that_a_var_does_not_take_is_told_before_dbt_is_called(given: str, told: str):
    with pytest.raises(ShopError, match=rf"--vars: .*{told}"):
        with_vars(["build", "--vars", f"{{{given}}}"], {})


@pytest.mark.parametrize(
    "given", ["discount_bands_pct: [5]", "rfm_monetary_amount: [9.5, 20, 30, 40]", "payment_due_days: 0"]
)
def test_what_a_var_takes_goes_on_to_dbt(given: str):
    assert "--vars" in with_vars(["build", "--vars", f"{{{given}}}"], {})
