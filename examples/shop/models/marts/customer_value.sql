{# Level 2: what each customer has spent. #}
select
    c.customer_id,
    c.customer_name,
    c.country,
    count(distinct i.order_id) as orders,
    coalesce(sum(i.revenue), 0) as lifetime_revenue,
    max(i.order_date) as last_order_date
from {{ ref('stg_customers') }} c
left join {{ ref('order_items') }} i using (customer_id)
group by c.customer_id, c.customer_name, c.country
