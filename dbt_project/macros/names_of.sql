{#
    The names that `columns` have once they are selected (of `subtotal_amount as gross_amount`, the last), each written in
    `form`, where # stands for it.
#}
{% macro names_of(columns, form='#') -%}
    {%- set written = [] -%}
    {%- for column in columns -%}
        {%- do written.append(form | replace('#', column.split(' as ') | last)) -%}
    {%- endfor -%}
    {{ return(written) }}
{%- endmacro %}
