{#-
  Raise a clear error where the extension is missing from the database, or doesn't fit this package.
  Same major and minor version: the functions that the macros call are then there.
-#}
{% macro require_extension() %}
  {%- set installed = dbt_pgstream.extension_version() -%}
  {%- set expected = '0.1' -%}
  {%- if installed is none -%}
    {%- do exceptions.raise_compiler_error(
      'dbt_pgstream extension is not installed in database "' ~ target.dbname ~ '".\nRun: CREATE EXTENSION dbt_pgstream;') -%}
  {%- elif installed.split('.')[:2] | join('.') != expected -%}
    {%- do exceptions.raise_compiler_error(
      'dbt_pgstream extension is version ' ~ installed ~ ', but the dbt package needs ' ~ expected ~
      '.\nRun: ALTER EXTENSION dbt_pgstream UPDATE;\nor install the package of the same version.') -%}
  {%- endif -%}
{% endmacro %}
