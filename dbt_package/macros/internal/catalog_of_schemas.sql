{#- The catalog of whole schemas: one entry without an identifier for each. -#}
{% macro catalog_of_schemas(information_schema, schemas) %}
  {%- set relations = [] -%}
  {%- for schema in schemas -%}
    {%- do relations.append({'schema': schema, 'identifier': none}) -%}
  {%- endfor -%}
  {{ return(dbt_pgstream.catalog_table(relations)) }}
{% endmacro %}
