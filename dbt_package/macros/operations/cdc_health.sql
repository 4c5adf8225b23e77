{#- dbt run-operation cdc_health: the sources of all stream tables, and what is wrong with them. -#}
{% macro cdc_health() %}
  {%- set rows = dbt_pgstream.call_function('select source_table, cdc_mode, pending_rows, alert from dbt_pgstream.check_cdc_health() order by 1') -%}
  {%- do dbt_pgstream.print_table(['source_table', 'cdc_mode', 'pending_rows', 'alert'], rows) -%}
{% endmacro %}
