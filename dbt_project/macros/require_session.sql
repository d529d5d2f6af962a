{#
    Stops a run whose variables are wrong, or whose session would give other content than the rest of the engines do,
    before anything is built.

    A timestamp becomes a day in the session's time zone, and text is ordered by the database's collation: all days are
    UTC's, and text is ordered by its bytes. DuckDB does both by `profiles.yml`.
#}
{% macro require_session() -%}
    {%- if execute -%}
        {%- do run_window() -%}
        {%- do require_sound_vars() -%}
        {%- do require_known_datasets() -%}
        {{ adapter.dispatch('require_session', 'cartograph')() }}
    {%- endif -%}
{%- endmacro %}

{# A dataset that CARTOGRAPH_DBT_DATASETS misspells would be one that is not delivered, and what is made of it absent. #}
{% macro require_known_datasets() -%}
    {%- set listed = env_var('CARTOGRAPH_DBT_DATASETS', '') -%}
    {%- set known = graph.sources.values() | map(attribute='name') | list -%}
    {%- for name in listed.split(',') if listed and name not in known -%}
        {{ exceptions.raise_compiler_error(
            'CARTOGRAPH_DBT_DATASETS=' ~ listed ~ ': there is no dataset "' ~ name ~ '". '
            ~ 'List what the shop delivers, by comma and without spaces, or unset it for all datasets.'
        ) }}
    {%- endfor -%}
{%- endmacro %}

{% macro default__require_session() -%}{%- endmacro %}

{% macro postgres__require_session() -%}
    {%- set found = run_query(
        "select current_setting('TimeZone'), datcollate from pg_database where datname = current_database()"
    ).rows[0] -%}
    {%- if found[0] not in ['UTC', 'Etc/UTC'] -%}
        {{ exceptions.raise_compiler_error(
            "The session's time zone is " ~ found[0] ~ "; the warehouse's days are UTC's. "
            ~ "Set PGTZ=UTC, or once: alter database " ~ target.dbname ~ " set timezone to 'UTC'."
        ) }}
    {%- elif found[1] not in ['C', 'POSIX', 'C.UTF-8', 'C.utf8'] -%}
        {{ exceptions.raise_compiler_error(
            "The database " ~ target.dbname ~ " orders text by the collation " ~ found[1] ~ "; the warehouse's by bytes. "
            ~ "Use one made by: create database warehouse template template0 encoding 'UTF8' locale 'C'."
        ) }}
    {%- endif -%}
{%- endmacro %}
