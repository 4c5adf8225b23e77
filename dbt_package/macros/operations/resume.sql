{#- dbt run-operation resume --args '{model_name: orders}': go on after a pause or a suspension. -#}
{% macro resume(model_name) %}
  {%- set name = dbt_pgstream.literal(dbt_pgstream.resolve(model_name)) -%}
  {%- do dbt_pgstream.call_function('select dbt_pgstream.alter_stream_table(' ~ name ~ ", status => 'ACTIVE')") -%}
  {%- do print(model_name ~ ' is active') -%}
{% endmacro %}
