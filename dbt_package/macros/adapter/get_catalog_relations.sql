{#- dbt docs: stream tables with their type, schedule, mode, status and statistics; the rest as dbt shows it. -#}
{% macro get_catalog_relations(information_schema, relations) %}
  {%- if dbt_pgstream.extension_version() is none -%}
    {{ return(adapter.dispatch('get_catalog_relations', 'dbt')(information_schema, relations)) }}
  {%- endif -%}
  {{ return(dbt_pgstream.catalog_table(relations)) }}
{% endmacro %}

{% macro postgres__get_catalog_relations(information_schema, relations) %}
  {%- if dbt_pgstream.extension_version() is none -%}
    {{ return(dbt.postgres__get_catalog_relations(information_schema, relations)) }}
  {%- endif -%}
  {{ return(dbt_pgstream.catalog_table(relations)) }}
{% endmacro %}
