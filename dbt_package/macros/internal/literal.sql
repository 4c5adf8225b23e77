{#- A text as an SQL literal, whatever it contains: between dollar tags made from a hash of the text itself. -#}
{% macro literal(text) %}
  {%- set tag = '$pgs' ~ local_md5(text) ~ '$' -%}
  {{ return(tag ~ text ~ tag) }}
{% endmacro %}
