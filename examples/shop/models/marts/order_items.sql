{# Level 1: one row for each line sold. Read by other stream tables only, so it is as fresh as they need. #}
{{ config(schedule='calculated', indexes=[{'columns': ['order_id']}]) }}
select
    l.order_id,
    l.line_number,
    o.customer_id,
    o.ordered_at::date as order_date,
    o.status,
    p.category,
    l.quantity,
    l.quantity * p.price as revenue
from {{ ref('stg_order_lines') }} l
join {{ ref('stg_orders') }} o using (order_id)
join {{ ref('stg_products') }} p using (product_id)
