-- The star by hand, for DuckDB alone: each raw table is read and cleaned once, nothing is portable, nothing is tested.
-- {customers}, {products}, {orders} and {order_items} are SELECTs over the lake's files.
CREATE SCHEMA marts;

CREATE TABLE marts.dim_customers AS
SELECT
    md5(customer_id || '|' || epoch_us(updated_at)) AS customer_key,
    * EXCLUDE (updated_at),
    row_number() OVER versions_of_customer AS version_number,
    CASE WHEN lag(updated_at) OVER versions_of_customer IS NULL THEN TIMESTAMPTZ '1900-01-01 00:00:00+00' ELSE updated_at END AS valid_from,
    coalesce(lead(updated_at) OVER versions_of_customer, TIMESTAMPTZ '9999-12-31 00:00:00+00') AS valid_to,
    lead(updated_at) OVER versions_of_customer IS NULL AS is_current
FROM (
    FROM ({customers}) QUALIFY row_number() OVER (PARTITION BY customer_id, updated_at ORDER BY _ingested_at DESC) = 1
)
WINDOW versions_of_customer AS (PARTITION BY customer_id ORDER BY updated_at);

CREATE TABLE marts.dim_products AS
SELECT
    md5(product_id || '|' || epoch_us(updated_at)) AS product_key,
    * EXCLUDE (updated_at),
    row_number() OVER versions_of_product AS version_number,
    CASE WHEN lag(updated_at) OVER versions_of_product IS NULL THEN TIMESTAMPTZ '1900-01-01 00:00:00+00' ELSE updated_at END AS valid_from,
    coalesce(lead(updated_at) OVER versions_of_product, TIMESTAMPTZ '9999-12-31 00:00:00+00') AS valid_to,
    lead(updated_at) OVER versions_of_product IS NULL AS is_current
FROM (
    FROM ({products}) QUALIFY row_number() OVER (PARTITION BY product_id, updated_at ORDER BY _ingested_at DESC) = 1
)
WINDOW versions_of_product AS (PARTITION BY product_id ORDER BY updated_at);

CREATE TEMP TABLE orders AS
SELECT latest.*, coalesce(customers.customer_key, md5('(guest)')) AS customer_key
FROM (
    FROM ({orders})
    QUALIFY row_number() OVER (PARTITION BY order_id, ordered_at ORDER BY updated_at DESC, _ingested_at DESC) = 1
) AS latest
ASOF LEFT JOIN marts.dim_customers AS customers
    ON latest.customer_id = customers.customer_id AND latest.ordered_at >= customers.valid_from;

CREATE TEMP TABLE lines AS
SELECT *, CAST(round(quantity * unit_price, 2) AS DECIMAL(18, 2)) AS gross_amount
FROM ({order_items})
QUALIFY row_number() OVER (PARTITION BY order_id, line_number, ordered_at ORDER BY _ingested_at DESC) = 1;

CREATE TABLE marts.dim_geographies AS
SELECT md5(shipping_country || '|' || coalesce(shipping_city, '')) AS geography_key, shipping_country, shipping_city
FROM orders
WHERE shipping_country IS NOT NULL
GROUP BY ALL;

CREATE TABLE marts.fct_order_items AS
SELECT
    md5(lines.order_id || '|' || lines.line_number) AS order_item_key,
    lines.order_id,
    lines.line_number,
    lines.ordered_at,
    CAST(lines.ordered_at AS DATE) AS order_date,
    orders.customer_id,
    orders.customer_key,
    lines.product_id,
    products.product_key,
    lines.quantity,
    lines.unit_price,
    lines.gross_amount,
    lines.discount_amount,
    CAST(lines.gross_amount - lines.discount_amount AS DECIMAL(18, 2)) AS net_amount,
    products.unit_cost,
    CAST(round(lines.quantity * products.unit_cost, 2) AS DECIMAL(18, 2)) AS cost_amount,
    CAST(lines.gross_amount - lines.discount_amount - round(lines.quantity * products.unit_cost, 2) AS DECIMAL(18, 2))
        AS margin_amount,
    orders.status = 'cancelled' AS is_cancelled
FROM lines
INNER JOIN orders ON lines.order_id = orders.order_id
ASOF LEFT JOIN marts.dim_products AS products
    ON lines.product_id = products.product_id AND lines.ordered_at >= products.valid_from;

CREATE TABLE marts.fct_orders AS
SELECT
    orders.order_id,
    orders.ordered_at,
    CAST(orders.ordered_at AS DATE) AS order_date,
    orders.customer_id,
    orders.customer_key,
    orders.status,
    orders.total_amount,
    coalesce(summed.line_count, 0) AS line_count,
    coalesce(summed.item_quantity, 0) AS item_quantity,
    orders.subtotal_amount AS gross_amount,
    orders.discount_amount,
    orders.shipping_amount,
    orders.status = 'cancelled' AS is_cancelled,
    orders.customer_id IS NULL AS is_guest,
    orders.channel, orders.device, orders.campaign_id, orders.coupon_code
FROM orders
LEFT JOIN (
    SELECT order_id, count(*) AS line_count, sum(quantity) AS item_quantity FROM lines GROUP BY order_id
) AS summed ON orders.order_id = summed.order_id;

CREATE TABLE marts.agg_daily_sales AS
SELECT orders.*, costed.* EXCLUDE (order_date)
FROM (
    SELECT
        order_date, count(*) AS orders_count, count(DISTINCT customer_id) AS customers_count,
        CAST(sum(item_quantity) AS BIGINT) AS units, CAST(sum(gross_amount) AS DECIMAL(18, 2)) AS gross_amount,
        CAST(sum(discount_amount) AS DECIMAL(18, 2)) AS discount_amount,
        CAST(sum(shipping_amount) AS DECIMAL(18, 2)) AS shipping_amount,
        CAST(sum(total_amount) AS DECIMAL(18, 2)) AS revenue_amount
    FROM marts.fct_orders WHERE NOT is_cancelled GROUP BY order_date
) AS orders
LEFT JOIN (
    SELECT
        order_date, CAST(sum(cost_amount) AS DECIMAL(18, 2)) AS cost_amount,
        CAST(sum(margin_amount) AS DECIMAL(18, 2)) AS margin_amount
    FROM marts.fct_order_items WHERE NOT is_cancelled GROUP BY order_date
) AS costed ON orders.order_date = costed.order_date;
