{#- The same for whole schemas: what dbt calls above a hundred relations. -#}
{% macro get_catalog(information_schema, schemas) %}
  {%- if dbt_pgstream.extension_version() is none -%}
    {{ return(adapter.dispatch('get_catalog', 'dbt')(information_schema, schemas)) }}
  {%- endif -%}
  {{ return(dbt_pgstream.catalog_of_schemas(information_schema, schemas)) }}
{% endmacro %}

{% macro postgres__get_catalog(information_schema, schemas) %}
  {%- if dbt_pgstream.extension_version() is none -%}
    {{ return(dbt.postgres__get_catalog(information_schema, schemas)) }}
  {%- endif -%}
  {{ return(dbt_pgstream.catalog_of_schemas(information_schema, schemas)) }}
{% endmacro %}
