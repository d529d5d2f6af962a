{# The day (UTC) of a timestamp, whatever the session's time zone. #}
{% macro utc_date(column) -%}
    cast({{ column }} at time zone 'UTC' as date)
{%- endmacro %}

{# The first and last moments of history: versions reach from one to the other, so that every fact finds one. #}
{% macro beginning_of_time() -%}cast('1900-01-01 00:00:00+00' as timestamptz){%- endmacro %}
{% macro end_of_time() -%}cast('9999-12-31 00:00:00+00' as timestamptz){%- endmacro %}
