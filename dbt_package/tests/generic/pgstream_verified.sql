{#-
  Fails if a stream table is not its query, row by row.  Runs the whole query; rows that changed since the last refresh
  count as differences, so use it where sources stand still, or after a refresh.
-#}
{% test pgstream_verified(model) %}
select missing, unexpected
from dbt_pgstream.verify_stream_table({{ dbt_pgstream.literal(model.without_identifier().include(database=false).render() ~ '.' ~ adapter.quote(model.identifier)) }})
where not ok
{% endtest %}
