{#- The same under a name of our own: two packages that both define 'stream_table' collide without a word. -#}
{% materialization pgstream_table, adapter='postgres' %}
  {{ return(dbt_pgstream.build_stream_table(pre_hooks, post_hooks, sql)) }}
{% endmaterialization %}
