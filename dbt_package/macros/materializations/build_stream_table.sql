{#-
  What both materializations do: one call of upsert_stream_table, then what dbt does around every model.

  The result of the upsert is stored last under the name 'main': that message is what the run line shows.
-#}
{% macro build_stream_table(pre_hooks, post_hooks, sql) %}
  {%- set existing = load_cached_relation(this) -%}
  {%- set target = this.incorporate(type='table') -%}
  {%- do dbt_pgstream.require_extension() -%}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}

  {%- set query = dbt_pgstream.defining_query(sql) -%}
  {%- call statement('upsert', fetch_result=True) -%}
    {{ dbt_pgstream.upsert_sql(target, query) }}
  {%- endcall -%}
  {%- set row = load_result('upsert')['data'][0] -%}
  {%- set action = row[0] -%}
  {%- set is_new = action in ('created', 'recreated') -%}
  {%- if existing is not none and is_new -%}
    {#- dropped with all that read from it: without this, dbt would go on to rename views that are gone -#}
    {%- do adapter.cache_dropped(existing) -%}
  {%- endif -%}

  {%- do dbt_pgstream.apply_constraints(target, is_new) -%}
  {%- do dbt_pgstream.apply_indexes(target, is_new) -%}
  {%- do apply_grants(target, config.get('grants'), should_revoke=not is_new) -%}
  {%- do persist_docs(target, model) -%}

  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do adapter.commit() -%}
  {{ run_hooks(post_hooks, inside_transaction=False) }}

  {%- do store_raw_result(name='main', message=(action | upper) ~ (' ' ~ row[1] if row[1] else ''), code=action | upper,
                          rows_affected='-1') -%}
  {{ return({'relations': [target]}) }}
{% endmacro %}
