{#-
  materialized='stream_table': a table that PostgreSQL keeps up to date by itself.

  Config: schedule ('1m'; none for manual), refresh_mode ('DIFFERENTIAL'), initialize (true), engine (none: whatever the
  stream table has, or the server's default), and dbt's own indexes, grants, persist_docs, contract, hooks, full_refresh.
-#}
{% materialization stream_table, adapter='postgres' %}
  {{ return(dbt_pgstream.build_stream_table(pre_hooks, post_hooks, sql)) }}
{% endmaterialization %}
