{#-
  Relations of a schema as (database, schema, name, type), stream tables as 'stream_table'.  dbt's own cache knows no such
  type and goes on with 'table', as which a stream table can be renamed and dropped.
-#}
{% macro list_relations(schema_name) %}
  {{ return(dbt_pgstream.call_function('select database, schema, name, type from dbt_pgstream.list_relations(' ~
                                       dbt_pgstream.literal(schema_name) ~ ') order by name')) }}
{% endmacro %}
