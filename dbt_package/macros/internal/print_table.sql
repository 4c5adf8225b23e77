{#- Print rows as an aligned table. rows: a list of sequences as long as headers; none is shown as '-'. -#}
{% macro print_table(headers, rows) %}
  {%- set texts = [headers] -%}
  {%- for row in rows -%}
    {%- set cells = [] -%}
    {%- for value in row -%}
      {%- if value is none -%}
        {%- do cells.append('-') -%}
      {%- else -%}
        {%- do cells.append(value | string | replace('\n', ' ')) -%}
      {%- endif -%}
    {%- endfor -%}
    {%- do texts.append(cells) -%}
  {%- endfor -%}
  {%- set widths = [] -%}
  {%- for i in range(headers | length) -%}
    {%- set lengths = [] -%}
    {%- for cells in texts -%}
      {%- do lengths.append(cells[i] | length) -%}
    {%- endfor -%}
    {%- do widths.append(lengths | max) -%}
  {%- endfor -%}
  {%- for cells in texts -%}
    {%- set line = [] -%}
    {%- for i in range(headers | length) -%}
      {%- do line.append(cells[i].ljust(widths[i])) -%}
    {%- endfor -%}
    {%- do print((line | join('  ')).rstrip()) -%}
    {%- if loop.first -%}
      {%- set rule = [] -%}
      {%- for width in widths -%}
        {%- do rule.append('-' * width) -%}
      {%- endfor -%}
      {%- do print(rule | join('  ')) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- if not rows -%}
    {%- do print('(none)') -%}
  {%- endif -%}
{% endmacro %}
