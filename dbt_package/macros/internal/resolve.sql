{#-
  A model's (or source's) name to the quoted name of its relation: "schema"."identifier".
  A name with a dot is taken as it is.
-#}
{% macro resolve(model_name) %}
  {%- if not model_name -%}
    {%- do exceptions.raise_compiler_error('model_name is missing. Give it with --args, for example: --args "{model_name: orders}"') -%}
  {%- endif -%}
  {%- if '.' in model_name -%}
    {{ return(model_name) }}
  {%- endif -%}
  {%- if execute -%}
    {%- for node in graph.nodes.values() if node.resource_type in ('model', 'snapshot', 'seed') and node.name == model_name -%}
      {{ return(adapter.quote(node.schema) ~ '.' ~ adapter.quote(node.alias)) }}
    {%- endfor -%}
    {%- do exceptions.raise_compiler_error('no model is named "' ~ model_name ~ '". Give a model, or schema.table.') -%}
  {%- endif -%}
{% endmacro %}
