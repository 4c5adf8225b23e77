{# Level 2: revenue for each day and category. #}
{{ config(indexes=[{'columns': ['order_date']}]) }}
select
    order_date,
    category,
    count(distinct order_id) as orders,
    sum(quantity) as units,
    sum(revenue) as revenue,
    sum(revenue) filter (where status = 'returned') as returned_revenue
from {{ ref('order_items') }}
group by order_date, category
