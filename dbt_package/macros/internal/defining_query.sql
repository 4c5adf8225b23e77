{#-
  The query to store: the compiled SQL, in the order of an enforced contract.

  --empty and --sample wrap each ref in a filtered subquery.  Stored like that, the definition itself would be empty for
  good, so the wrapping is taken off again (an --empty run then leaves a new stream table unpopulated instead).
-#}
{% macro defining_query(sql) %}
  {%- set query = modules.re.sub(
    '\\(select \\* from ((?:"[^"]*"|[\\w$]+)(?:\\.(?:"[^"]*"|[\\w$]+))*) where [^()]*(?:\\([^()]*\\)[^()]*)*\\)\\s*(?:as\\s+)?"?_dbt_(?:limit|et_filter)_subq_[\\w$]*"?',
    '\\1', sql) -%}
  {%- set contract = config.get('contract') -%}
  {%- if contract is not none and contract.enforced -%}
    {{ get_assert_columns_equivalent(query) }}
    {%- set query = get_select_subquery(query) -%}
  {%- endif -%}
  {{ return(query) }}
{% endmacro %}
