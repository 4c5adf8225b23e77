{#- The call of upsert_stream_table for the model at hand; its options come from the model's config. -#}
{% macro upsert_sql(target, query) %}
  {%- set options = {
    'schedule': config.get('schedule', '1m'),
    'refresh_mode': config.get('refresh_mode', 'DIFFERENTIAL'),
    'initialize': config.get('initialize', true) and not flags.EMPTY
  } -%}
  {%- if config.get('engine') -%}
    {%- do options.update({'engine': config.get('engine')}) -%}
  {%- endif -%}
  {%- if options.schedule is not none and options.schedule is not string -%}
    {%- do exceptions.raise_compiler_error("config 'schedule' of " ~ model.name ~ " must be text such as '1m', not " ~ options.schedule ~ ". Quote it.") -%}
  {%- endif -%}
  select action, detail from dbt_pgstream.upsert_stream_table(
    {{ dbt_pgstream.literal(target.schema) }}, {{ dbt_pgstream.literal(target.identifier) }},
    {{ dbt_pgstream.literal(query) }},
    {{ dbt_pgstream.literal(tojson(options)) }}::jsonb,
    {{ should_full_refresh() }})
{% endmacro %}
