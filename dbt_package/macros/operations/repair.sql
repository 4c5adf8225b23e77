{#- dbt run-operation repair --args '{model_name: orders}': put right what is missing of a stream table, and refresh it. -#}
{% macro repair(model_name) %}
  {%- set name = dbt_pgstream.literal(dbt_pgstream.resolve(model_name)) -%}
  {%- do dbt_pgstream.call_function('select dbt_pgstream.repair_stream_table(' ~ name ~ ')') -%}
  {%- do dbt_pgstream.refresh_history(model_name, 1) -%}
{% endmacro %}
