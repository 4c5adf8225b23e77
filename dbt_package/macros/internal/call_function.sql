{#- Run one SELECT in a transaction of its own, commit it, and return its rows. -#}
{% macro call_function(query) %}
  {%- do dbt_pgstream.require_extension() -%}
  {%- call statement('call_function', fetch_result=True, auto_begin=True) -%}
    {{ query }}
  {%- endcall -%}
  {%- set rows = load_result('call_function')['data'] -%}
  {%- do adapter.commit() -%}
  {{ return(rows) }}
{% endmacro %}
