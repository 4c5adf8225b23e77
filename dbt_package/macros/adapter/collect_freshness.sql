{#-
  Source freshness of a stream table without a column of its own: the time as of which its rows are right.

  A source says 'loaded_at_field: dbt_pgstream' (dbt wants the line, and shows no more of it); anything else is a column
  or expression, and goes to dbt's own macro.
-#}
{% macro collect_freshness(source, loaded_at_field, filter) %}
  {%- if loaded_at_field != 'dbt_pgstream' or adapter.type() != 'postgres' -%}
    {{ return(adapter.dispatch('collect_freshness', 'dbt')(source, loaded_at_field, filter)) }}
  {%- endif -%}
  {{ return(dbt_pgstream.stream_table_freshness(source)) }}
{% endmacro %}

{% macro postgres__collect_freshness(source, loaded_at_field, filter) %}
  {%- if loaded_at_field != 'dbt_pgstream' -%}
    {{ return(dbt.default__collect_freshness(source, loaded_at_field, filter)) }}
  {%- endif -%}
  {{ return(dbt_pgstream.stream_table_freshness(source)) }}
{% endmacro %}
