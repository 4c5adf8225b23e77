{#- Fails if the last refreshes of a stream table failed, if it is suspended, or if it is no stream table. -#}
{% test pgstream_no_errors(model) %}
select * from (
  select s.status, s.consecutive_errors
  from (select 1) one
  left join dbt_pgstream.pg_stat_stream_tables s on s.pgs_schema = {{ dbt_pgstream.literal(model.schema) }} and s.pgs_name = {{ dbt_pgstream.literal(model.identifier) }}
) checked
where status is null or status in ('ERROR', 'SUSPENDED') or consecutive_errors > 0
{% endtest %}
