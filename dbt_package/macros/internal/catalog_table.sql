{#- Catalog rows of some relations (each with schema and identifier), as an agate table. -#}
{% macro catalog_table(relations) %}
  {%- set wanted = [] -%}
  {%- for relation in relations -%}
    {%- do wanted.append({'schema': relation.schema, 'identifier': relation.identifier}) -%}
  {%- endfor -%}
  {%- call statement('catalog', fetch_result=True) -%}
    select * from dbt_pgstream.catalog_relations({{ dbt_pgstream.literal(tojson(wanted)) }}::jsonb)
  {%- endcall -%}
  {{ return(load_result('catalog').table) }}
{% endmacro %}
