{#- dbt run-operation pause --args '{model_name: orders}': stop the schedule of a stream table. -#}
{% macro pause(model_name) %}
  {%- set name = dbt_pgstream.literal(dbt_pgstream.resolve(model_name)) -%}
  {%- do dbt_pgstream.call_function('select dbt_pgstream.alter_stream_table(' ~ name ~ ", status => 'PAUSED')") -%}
  {%- do print(model_name ~ ' is paused') -%}
{% endmacro %}
