{#
    What each var of dbt_project.yml takes. A list is told by the form of each of its values, its order, and its
    `length` where the models need so many values; `not_over` names the var whose value this one's may not exceed.

    Attribution goes back no further than 1000 days, and halves a weight after no less than one: 0.5 to the power of
    1000 is still a double, which 0.5 to the power of 1100 is not.
#}
{% macro forms_of_vars() -%}
    {{ return({
        'rfm_recency_days': {'kind': 'whole', 'least': 0, 'most': 36500, 'order': 'falling', 'length': 4},
        'rfm_frequency_orders': {'kind': 'whole', 'least': 1, 'most': 1000000, 'order': 'rising', 'length': 4},
        'rfm_monetary_amount': {'kind': 'number', 'least': 0, 'most': 1000000000, 'order': 'rising', 'length': 4},
        'fiscal_year_start_month': {'kind': 'whole', 'least': 1, 'most': 12},
        'holiday_country': {'kind': 'country'},
        'payment_due_days': {'kind': 'whole', 'least': 0, 'most': 3650},
        'discount_bands_pct': {'kind': 'number', 'least': 0, 'most': 100, 'order': 'rising'},
        'inventory_demand_days': {'kind': 'whole', 'least': 1, 'most': 3650},
        'inventory_low_cover_days': {
            'kind': 'number', 'least': 0, 'most': 3650, 'not_over': 'inventory_overstock_cover_days'
        },
        'inventory_overstock_cover_days': {'kind': 'number', 'least': 0, 'most': 3650},
        'inventory_slow_mover_days': {'kind': 'whole', 'least': 1, 'most': 3650},
        'customer_recency_band_days': {'kind': 'whole', 'least': 0, 'most': 36500, 'order': 'rising', 'length': 3},
        'customer_frequency_band_orders': {
            'kind': 'whole', 'least': 1, 'most': 1000000, 'order': 'rising', 'length': 2
        },
        'customer_value_band_amount': {
            'kind': 'number', 'least': 0, 'most': 1000000000, 'order': 'rising', 'length': 2
        },
        'lifetime_value_band_percent_ranks': {'kind': 'number', 'least': 0, 'most': 1, 'order': 'rising', 'length': 3},
        'category_affinity_prior_amount': {'kind': 'number', 'least': 0.01, 'most': 1000000000},
        'market_basket_min_support': {'kind': 'number', 'least': 0, 'most': 1},
        'market_basket_min_confidence': {'kind': 'number', 'least': 0, 'most': 1},
        'market_basket_min_orders': {'kind': 'whole', 'least': 1, 'most': 1000000},
        'market_basket_max_products': {'kind': 'whole', 'least': 2, 'most': 10000},
        'session_gap_minutes': {'kind': 'whole', 'least': 1, 'most': 1439},
        'attribution_window_days': {'kind': 'whole', 'least': 1, 'most': 1000},
        'attribution_half_life_days': {'kind': 'number', 'least': 1, 'most': 3650},
    }) }}
{%- endmacro %}

{# Stops at the first var that is not of its form, whichever models are chosen: most would build nonsense, green. #}
{% macro require_sound_vars() -%}
    {%- for name, form in forms_of_vars().items() -%}
        {%- set value = builtins.var(name) -%}
        {%- set is_sound = is_ordered_list(value, form) if form.order else is_of_form(value, form) -%}
        {%- if not is_sound -%}
            {%- do refuse_var(name, told_form(form), value) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for name, form in forms_of_vars().items() if form.not_over -%}
        {%- set value, most = builtins.var(name), builtins.var(form.not_over) -%}
        {%- if value > most -%}
            {%- do refuse_var(name, 'at most ' ~ form.not_over ~ ' (' ~ most ~ ')', value) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}

{% macro refuse_var(name, takes, value) -%}
    {{ exceptions.raise_compiler_error(
        'The dbt var ' ~ name ~ ' takes ' ~ takes ~ ', got ' ~ tojson(value, value)
        ~ '. Correct it in dbt_project.yml, in dbt_vars of the shop, or in --vars.'
    ) }}
{%- endmacro %}

{# Whether each value is of the form and past the last, and there are as many as the form wants, or one at least. #}
{% macro is_ordered_list(values, form) -%}
    {%- if values is string or values is mapping or values is not iterable -%}
        {{ return(false) }}
    {%- elif values | length != form.get('length', [values | length, 1] | max) -%}
        {{ return(false) }}
    {%- endif -%}
    {%- for value in values -%}
        {%- if not is_of_form(value, form) -%}
            {{ return(false) }}
        {%- elif not loop.first and (
            value <= loop.previtem if form.order == 'rising' else value >= loop.previtem
        ) -%}
            {{ return(false) }}
        {%- endif -%}
    {%- endfor -%}
    {{ return(true) }}
{%- endmacro %}

{# A single value; a bound is asked for and not its opposite, as .nan is neither above nor below it. #}
{% macro is_of_form(value, form) -%}
    {%- if form.kind == 'country' -%}
        {{ return(value is string and modules.re.fullmatch('[A-Z]{2}', value) is not none) }}
    {%- elif value is not number or value is boolean or (form.kind == 'whole' and value is not integer) -%}
        {{ return(false) }}
    {%- endif -%}
    {{ return(value >= form.least and value <= form.most) }}
{%- endmacro %}

{% macro told_form(form) -%}
    {%- if form.kind == 'country' -%}
        {{ return('the ISO 3166 code of a country, two capital letters') }}
    {%- endif -%}
    {%- set one = 'whole number' if form.kind == 'whole' else 'number' -%}
    {%- set range = ' from ' ~ form.least ~ ' to ' ~ form.most -%}
    {%- if form.order -%}
        {{ return('a list of ' ~ form.get('length', 'one or more') ~ ' ' ~ form.order ~ ' ' ~ one ~ 's' ~ range) }}
    {%- endif -%}
    {{ return('a ' ~ one ~ range) }}
{%- endmacro %}
