{#- dbt run-operation drop_stream_table --args '{model_name: orders, cascade: false}': drop a stream table. -#}
{% macro drop_stream_table(model_name, cascade=false) %}
  {%- set name = dbt_pgstream.literal(dbt_pgstream.resolve(model_name)) -%}
  {%- do dbt_pgstream.call_function('select dbt_pgstream.drop_stream_table(' ~ name ~ ', ' ~ (true if cascade else false) ~ ')') -%}
  {%- do print(model_name ~ ' is dropped') -%}
{% endmacro %}
