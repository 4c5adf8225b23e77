{#- For dbt 1.10 and newer: a source's loaded_at_query. schema_name, table_name: of the stream table. -#}
{% macro loaded_at_query(schema_name, table_name) %}
  select max_loaded_at from dbt_pgstream.freshness({{ dbt_pgstream.literal(schema_name) }}, {{ dbt_pgstream.literal(table_name) }})
{% endmacro %}
