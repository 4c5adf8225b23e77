select id as customer_id, name as customer_name, country, created_at
from {{ source('raw', 'customers') }}
