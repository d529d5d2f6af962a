{#
    Which columns of an incremental model changed their type; dbt's own, without two that PostgreSQL invents.

    There an expression over varchar gives text, and one over decimal(18, 2) a numeric of any scale. Both are cast back as
    they are inserted into the table, whose types are the contract's; that they fit exactly is what DuckDB checks.
#}
{% macro postgres__diff_column_data_types(source_columns, target_columns) -%}
    {%- set kinds = {} -%}
    {%- for column in target_columns -%}
        {%- do kinds.update({column.name: column.data_type.split('(')[0]}) -%}
    {%- endfor -%}
    {%- set changed = [] -%}
    {%- for change in dbt.default__diff_column_data_types(source_columns, target_columns) -%}
        {%- if (kinds[change.column_name], change.new_type) not in [('character varying', 'text'), ('numeric', 'numeric')] -%}
            {%- do changed.append(change) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(changed) }}
{%- endmacro %}
