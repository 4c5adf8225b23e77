{#-
  Columns of a relation, without the hidden columns that other engines put into their stream tables.

  The bare name takes effect in every project that installs this package; the prefixed one in a project whose dispatch
  config searches this package for 'dbt' macros.  Both leave everything but such columns to dbt's own macro.
-#}
{% macro get_columns_in_relation(relation) %}
  {{ return(dbt_pgstream.without_hidden(relation, adapter.dispatch('get_columns_in_relation', 'dbt')(relation))) }}
{% endmacro %}

{% macro postgres__get_columns_in_relation(relation) %}
  {{ return(dbt_pgstream.without_hidden(relation, dbt.postgres__get_columns_in_relation(relation))) }}
{% endmacro %}
