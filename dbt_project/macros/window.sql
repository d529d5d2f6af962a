{#
    The partition window that a run works on: [CARTOGRAPH_DBT_MIN_DATE, CARTOGRAPH_DBT_MAX_DATE), days in UTC.

    Environment variables and not `--vars`, because dbt parses the whole project again when a var changes. They are read
    while a model runs and never while it is parsed, so that another window leaves the parsed project as it is.
    `before` and `after` widen it by days, for a model whose rows depend on what happened shortly before or after.
#}
{% macro in_window(column, before=0, after=0) -%}
    {%- set min_date = env_var('CARTOGRAPH_DBT_MIN_DATE', '') if execute else '' -%}
    {%- set max_date = env_var('CARTOGRAPH_DBT_MAX_DATE', '') if execute else '' -%}
    {%- if min_date and max_date -%}
        (
            {{ column }} >= cast('{{ min_date }}' as date) - {{ before }}
            and {{ column }} < cast('{{ max_date }}' as date) + {{ after }}
        )
    {%- elif min_date or max_date -%}
        {{ exceptions.raise_compiler_error(
            'CARTOGRAPH_DBT_MIN_DATE and CARTOGRAPH_DBT_MAX_DATE bound a window together: set both or neither.'
        ) }}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{#
    The incremental strategy `delete_insert_window`: replaces exactly the rows of the run's window.

    dbt's `delete+insert` deletes by key, so a row that has vanished from the source would stay. The model names its time
    column as `event_time`, and must select only rows of the window (`in_window`). Where rows shortly before or after the
    window change with it, `meta.window_margin_days` ([before, after]) widens what is replaced, here and in the lake.
#}
{% macro get_incremental_delete_insert_window_sql(arguments) -%}
    {%- set columns = get_quoted_csv(arguments['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arguments['target_relation'] }}
    where {{ in_window(config.require('event_time'), *config.get('meta', {}).get('window_margin_days', [0, 0])) }};

    insert into {{ arguments['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arguments['temp_relation'] }}
{%- endmacro %}
