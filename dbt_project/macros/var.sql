{#
    dbt's own `var`, and a look at all vars wherever SQL is made with one.

    `dbt compile`, `dbt show` and `dbt docs generate` call no on-run-start, and would write SQL with a var that makes
    nonsense. While the project is parsed nothing is refused: a shop's own vars are not there yet.
#}
{% macro var(name) -%}
    {%- if execute -%}
        {%- do require_sound_vars() -%}
    {%- endif -%}
    {{ return(builtins.var(name)) }}
{%- endmacro %}
