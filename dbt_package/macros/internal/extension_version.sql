{#- Version of the extension in the target database, or none: also on other adapters, and while parsing. -#}
{% macro extension_version() %}
  {%- if not execute or adapter.type() != 'postgres' -%}
    {{ return(none) }}
  {%- endif -%}
  {%- call statement('extension_version', fetch_result=True) -%}
    select extversion from pg_catalog.pg_extension where extname = 'dbt_pgstream'
  {%- endcall -%}
  {%- set rows = load_result('extension_version')['data'] -%}
  {{ return(rows[0][0] if rows else none) }}
{% endmacro %}
