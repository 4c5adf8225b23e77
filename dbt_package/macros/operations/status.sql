{#- dbt run-operation status: every stream table of the database at a glance. -#}
{% macro status() %}
  {%- set rows = dbt_pgstream.call_function(
    "select pgs_schema || '.' || pgs_name, status, refresh_mode, coalesce(schedule, 'manual'), to_char(last_refresh_at, 'YYYY-MM-DD HH24:MI:SS'),"
    ~ " round(extract(epoch from staleness))::int, case when stale then 'STALE' else 'ok' end, consecutive_errors, round(avg_duration_ms::numeric, 1), engine"
    ~ ' from dbt_pgstream.pg_stat_stream_tables order by 1') -%}
  {%- do dbt_pgstream.print_table(
    ['stream_table', 'status', 'mode', 'schedule', 'last_refresh', 'age_s', 'state', 'errors', 'avg_ms', 'engine'], rows) -%}
{% endmacro %}
