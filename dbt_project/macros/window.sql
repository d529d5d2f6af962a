{#
    The partition window that a run works on: [CARTOGRAPH_DBT_MIN_DATE, CARTOGRAPH_DBT_MAX_DATE), days in UTC.

    Environment variables and not `--vars`, because dbt parses the whole project again when a var changes. They are read
    while a model runs and never while it is parsed, so that another window leaves the parsed project as it is.
    `before` and `after` widen it by days, for a model whose rows depend on what happened shortly before or after.
#}
{% macro in_window(column, before=0, after=0) -%}
    {%- set window = run_window() if execute else none -%}
    {%- if window -%}
        (
            {{ column }} >= cast('{{ window[0] }}' as date) - {{ before }}
            and {{ column }} < cast('{{ window[1] }}' as date) + {{ after }}
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# The first day of the run's window and the day after its last; none where all of time is built. #}
{% macro run_window() -%}
    {%- set names = ['CARTOGRAPH_DBT_MIN_DATE', 'CARTOGRAPH_DBT_MAX_DATE'] -%}
    {%- set values = [env_var(names[0], ''), env_var(names[1], '')] -%}
    {%- set told = names[0] ~ '=' ~ values[0] ~ ' and ' ~ names[1] ~ '=' ~ values[1] -%}
    {%- set cure = 'Set both to days as 2024-02-01, MAX to the day after the last one of the window, or neither.' -%}
    {%- if not values[0] and not values[1] -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set days = [] -%}
    {%- for value in values -%}
        {%- do days.append(try_or_compiler_error(
            told ~ ' bound no window: ' ~ (value or 'nothing') ~ ' is no day. ' ~ cure,
            modules.datetime.datetime.strptime, value, '%Y-%m-%d'
        ).date()) -%}
    {%- endfor -%}
    {%- if days[0] >= days[1] -%}
        {{ exceptions.raise_compiler_error(told ~ ' bound no window: MAX is not after MIN. ' ~ cure) }}
    {%- endif -%}
    {{ return(days) }}
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
