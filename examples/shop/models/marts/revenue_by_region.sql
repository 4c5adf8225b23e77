{# Level 3: regions, from a seed. Show the same moment as customer_value: they are refreshed together. #}
select
    n.region,
    n.country,
    count(*) as customers,
    sum(v.lifetime_revenue) as revenue,
    rank() over (order by sum(v.lifetime_revenue) desc) as place
from {{ ref('customer_value') }} v
join {{ ref('countries') }} n on n.code = v.country
group by n.region, n.country
