{#- Take the state columns of other engines out of a list of columns; asks the database only where one looks like it. -#}
{% macro without_hidden(relation, columns) %}
  {%- set suspects = [] -%}
  {%- if adapter.type() == 'postgres' -%}
    {%- for column in columns if column.name.startswith('__pgs_') or column.name.startswith('__pgt_') -%}
      {%- do suspects.append(column.name) -%}
    {%- endfor -%}
  {%- endif -%}
  {%- if not suspects or dbt_pgstream.extension_version() is none -%}
    {{ return(columns) }}
  {%- endif -%}
  {%- call statement('visible_columns', fetch_result=True) -%}
    select column_name from dbt_pgstream.columns_in_relation(
      {{ dbt_pgstream.literal(relation.schema) }}, {{ dbt_pgstream.literal(relation.identifier) }})
  {%- endcall -%}
  {%- set visible = load_result('visible_columns').table.columns[0].values() | list -%}
  {%- set result = [] -%}
  {%- for column in columns if column.name in visible -%}
    {%- do result.append(column) -%}
  {%- endfor -%}
  {{ return(result) }}
{% endmacro %}
