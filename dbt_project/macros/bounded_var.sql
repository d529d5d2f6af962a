{# The whole number that a var is set to; an error that names it where it is not from `least` to `most`. #}
{% macro bounded_var(name, least, most) -%}
    {%- set value = var(name) -%}
    {%- if value is not integer or value < least or value > most -%}
        {{ exceptions.raise_compiler_error(
            name ~ ' takes a whole number from ' ~ least ~ ' to ' ~ most ~ ', got ' ~ value ~ '. Correct it in dbt_project.yml or --vars.'
        ) }}
    {%- endif -%}
    {{ return(value) }}
{%- endmacro %}
