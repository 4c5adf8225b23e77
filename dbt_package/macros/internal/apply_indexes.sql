{#-
  Create the indexes of the model's config that are not there yet.  Their names come from their definition, so a changed
  index is a new one, and an old one of ours that the config no longer has is dropped.
-#}
{% macro apply_indexes(target, is_new) %}
  {%- set wanted = {} -%}
  {%- for raw in config.get('indexes', default=[]) -%}
    {%- set index = adapter.parse_index(raw) -%}
    {%- set definition = (index.columns | join(',')) ~ '|' ~ index.unique ~ '|' ~ (index.type or '') -%}
    {%- do wanted.update({'pgs_idx_' ~ local_md5(target.schema ~ '.' ~ target.identifier ~ '|' ~ definition)[:24]: index}) -%}
  {%- endfor -%}
  {%- set existing = [] -%}
  {%- if wanted and not is_new -%}
    {%- call statement('indexes', fetch_result=True) -%}
      select c.relname from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
      where i.indrelid = {{ dbt_pgstream.literal(target.render()) }}::regclass and c.relname like 'pgs\_idx\_%'
    {%- endcall -%}
    {%- for row in load_result('indexes')['data'] -%}
      {%- do existing.append(row[0]) -%}
    {%- endfor -%}
  {%- endif -%}
  {%- for name, index in wanted.items() if name not in existing -%}
    {%- set columns = [] -%}
    {%- for column in index.columns -%}
      {%- do columns.append(column) -%}
    {%- endfor -%}
    {%- do run_query('create ' ~ ('unique ' if index.unique else '') ~ 'index "' ~ name ~ '" on ' ~ target.render() ~
                     (' using ' ~ index.type if index.type else '') ~ ' (' ~ columns | join(', ') ~ ')') -%}
  {%- endfor -%}
  {%- for name in existing if name not in wanted -%}
    {%- do run_query('drop index ' ~ adapter.quote(target.schema) ~ '."' ~ name ~ '"') -%}
  {%- endfor -%}
{% endmacro %}
