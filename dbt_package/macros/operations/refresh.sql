{#- dbt run-operation refresh --args '{model_name: orders}': bring one stream table up to date now. -#}
{% macro refresh(model_name) %}
  {%- set name = dbt_pgstream.literal(dbt_pgstream.resolve(model_name)) -%}
  {%- do dbt_pgstream.call_function('select dbt_pgstream.refresh_stream_table(' ~ name ~ ')') -%}
  {%- do dbt_pgstream.refresh_history(model_name, 1) -%}
{% endmacro %}
