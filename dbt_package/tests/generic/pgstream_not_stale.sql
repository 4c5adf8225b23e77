{#- Fails if a stream table is stale: unpopulated, failing, without its source, overdue, or older than max_age ('10 minutes'). -#}
{% test pgstream_not_stale(model, max_age=none) %}
select * from (
  select s.status, s.last_refresh_at, s.staleness, s.stale
  from (select 1) one
  left join dbt_pgstream.pg_stat_stream_tables s on s.pgs_schema = {{ dbt_pgstream.literal(model.schema) }} and s.pgs_name = {{ dbt_pgstream.literal(model.identifier) }}
) checked
where stale is null or stale{% if max_age is not none %} or staleness > {{ dbt_pgstream.literal(max_age) }}::interval{% endif %}
{% endtest %}
