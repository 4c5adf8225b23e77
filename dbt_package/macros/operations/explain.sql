{#- dbt run-operation explain --args '{model_name: orders}': how a stream table is kept up to date. -#}
{% macro explain(model_name) %}
  {%- set name = dbt_pgstream.literal(dbt_pgstream.resolve(model_name)) -%}
  {%- set rows = [] -%}
  {%- for row in dbt_pgstream.call_function('select property, value from dbt_pgstream.explain_st(' ~ name ~ ')') -%}
    {#- a value of several lines takes several rows -#}
    {%- for line in (row[1] or '-').split('\n') -%}
      {%- do rows.append([row[0] if loop.first else '', line]) -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- do dbt_pgstream.print_table(['property', 'value'], rows) -%}
{% endmacro %}
