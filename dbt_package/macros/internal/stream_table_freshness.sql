{#- The freshness row of a stream table, in the shape that dbt wants. -#}
{% macro stream_table_freshness(source) %}
  {%- do dbt_pgstream.require_extension() -%}
  {%- call statement('collect_freshness', fetch_result=True, auto_begin=False) -%}
    select max_loaded_at, snapshotted_at from dbt_pgstream.freshness(
      {{ dbt_pgstream.literal(source.schema) }}, {{ dbt_pgstream.literal(source.identifier) }})
  {%- endcall -%}
  {%- set result = load_result('collect_freshness') -%}
  {%- if result.table.rows | length == 0 -%}
    {%- do exceptions.raise_compiler_error(source.render() ~ ' is not a stream table: give it a loaded_at_field that is one of its columns') -%}
  {%- endif -%}
  {{ return(result) }}
{% endmacro %}
