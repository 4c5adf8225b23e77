{#- dbt run-operation refresh_history --args '{model_name: orders, limit: 10}': the last refreshes, newest first. -#}
{% macro refresh_history(model_name, limit=10) %}
  {%- set name = dbt_pgstream.literal(dbt_pgstream.resolve(model_name)) -%}
  {%- set rows = dbt_pgstream.call_function(
    "select to_char(start_time, 'YYYY-MM-DD HH24:MI:SS'), action, status, rows_inserted, rows_updated, rows_deleted, round(duration_ms::numeric, 1), initiated_by, error_message"
    ~ ' from dbt_pgstream.get_refresh_history(' ~ name ~ ', ' ~ limit | int ~ ')') -%}
  {%- do dbt_pgstream.print_table(
    ['start_time', 'action', 'status', 'inserted', 'updated', 'deleted', 'ms', 'initiated_by', 'error'], rows) -%}
{% endmacro %}
