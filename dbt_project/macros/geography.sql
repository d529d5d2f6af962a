{# The member of dim_geographies that stands for all places without a country. #}
{% macro unknown_geography() -%}'(unknown)'{%- endmacro %}

{# The key of a place in dim_geographies; the country comes last, so that no two keys meet whatever a city is called. #}
{% macro geography_key(country, city) -%}
    case
        when {{ country }} is null then md5({{ unknown_geography() }})
        else {{ surrogate_key(["coalesce(" ~ city ~ ", '')", country]) }}
    end
{%- endmacro %}
