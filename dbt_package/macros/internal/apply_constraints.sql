{#-
  Apply the constraints of an enforced contract to a new stream table.  They hold for what a refresh writes: one that
  would break them fails, and says so.
-#}
{% macro apply_constraints(target, is_new) %}
  {%- set contract = config.get('contract') -%}
  {%- if is_new and contract is not none and contract.enforced -%}
    {%- set parts = [] -%}
    {%- for column in model.columns.values() -%}
      {%- set name = adapter.quote(column.name) if column.get('quote') else column.name -%}
      {%- for constraint in column.get('constraints', []) -%}
        {%- set given = 'constraint ' ~ constraint.name ~ ' ' if constraint.get('name') else '' -%}
        {%- set expression = constraint.get('expression') or '' -%}
        {%- if constraint.type == 'not_null' -%}
          {%- do parts.append('alter column ' ~ name ~ ' set not null') -%}
        {%- elif constraint.type == 'unique' -%}
          {%- do parts.append('add ' ~ given ~ 'unique (' ~ name ~ ')') -%}
        {%- elif constraint.type == 'primary_key' -%}
          {%- do parts.append('add ' ~ given ~ 'primary key (' ~ name ~ ')') -%}
        {%- elif constraint.type == 'check' -%}
          {%- do parts.append('add ' ~ given ~ 'check (' ~ expression ~ ')') -%}
        {%- elif constraint.type == 'foreign_key' -%}
          {%- do parts.append('add ' ~ given ~ 'foreign key (' ~ name ~ ') references ' ~
                              (constraint.to ~ ' (' ~ constraint.to_columns | join(', ') ~ ')' if constraint.get('to') else expression)) -%}
        {%- else -%}
          {%- do exceptions.warn('constraint ' ~ constraint.type ~ ' on ' ~ model.name ~ '.' ~ column.name ~ ' is not supported for stream tables') -%}
        {%- endif -%}
      {%- endfor -%}
    {%- endfor -%}
    {%- for constraint in adapter.render_raw_model_constraints(raw_constraints=model.constraints) -%}
      {%- do parts.append('add ' ~ constraint) -%}
    {%- endfor -%}
    {%- if parts -%}
      {%- do run_query('alter table ' ~ target.render() ~ ' ' ~ parts | join(', ')) -%}
    {%- endif -%}
  {%- endif -%}
{% endmacro %}
