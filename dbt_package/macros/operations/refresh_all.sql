{#- dbt run-operation refresh_all: all stream tables of the role, in one snapshot; fails if one of them failed. -#}
{% macro refresh_all() %}
  {%- set failed = dbt_pgstream.call_function('select dbt_pgstream.refresh_all()')[0][0] -%}
  {%- do dbt_pgstream.status() -%}
  {%- if failed > 0 -%}
    {%- do exceptions.raise_compiler_error(failed ~ ' stream tables could not be refreshed: see last_error in dbt_pgstream.pgs_stream_tables') -%}
  {%- endif -%}
{% endmacro %}
