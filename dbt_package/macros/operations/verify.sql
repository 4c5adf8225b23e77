{#-
  dbt run-operation verify --args '{model_name: orders}': compare a stream table with its query; fails if they differ.
  Rows that changed since the last refresh count as differences, so refresh first, or pause the writers.
-#}
{% macro verify(model_name) %}
  {%- set name = dbt_pgstream.literal(dbt_pgstream.resolve(model_name)) -%}
  {%- set row = dbt_pgstream.call_function('select missing, unexpected, ok from dbt_pgstream.verify_stream_table(' ~ name ~ ')')[0] -%}
  {%- do dbt_pgstream.print_table(['model', 'missing', 'unexpected', 'ok'], [[model_name] + row | list]) -%}
  {%- if not row[2] -%}
    {%- do exceptions.raise_compiler_error(model_name ~ ' differs from its query: ' ~ row[0] ~ ' rows missing, ' ~ row[1] ~ ' too many') -%}
  {%- endif -%}
{% endmacro %}
