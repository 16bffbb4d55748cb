-- Which pro customers looked at the pricing or settings page in the last seven days?
--
--   mysql -u root -p < phase2_queries.sql
--
-- Three queries, from every view to a summary. Requires MySQL 8.0+ or MariaDB 10.2+.
-- The program reads Query 2 from this file and finds it by the line that starts `-- Query 2:`.
-- Seven days are counted from midnight in the session's time zone (UTC for the program).

USE iterable_challenge;

-- Query 1: every qualifying view, with its rank among the customer's views (1 is the latest).
SELECT
    c.id,
    c.email,
    pv.page,
    pv.device,
    pv.browser,
    pv.location,
    pv.event_time,
    ROW_NUMBER() OVER (PARTITION BY c.id ORDER BY pv.event_time DESC, pv.id DESC) AS view_rank
FROM customers c
INNER JOIN page_views pv ON pv.user_id = c.id
WHERE c.plan_type = 'pro'
    AND pv.page IN ('pricing', 'settings')
    AND pv.event_time >= DATE_SUB(CURDATE(), INTERVAL 7 DAY)
ORDER BY c.id, view_rank;

-- Query 2: the latest qualifying view of each customer. The program sends these rows.
-- Columns and their order are those of the CSV. Of two views in the same second, the one with the
-- higher id counts as the later one; without that tie-breaker the server could return either.
WITH ranked_views AS (
    SELECT
        c.id,
        c.email,
        c.first_name,
        c.last_name,
        c.plan_type,
        c.candidate,
        pv.page,
        pv.device,
        pv.browser,
        pv.location,
        pv.event_time,
        ROW_NUMBER() OVER (PARTITION BY c.id ORDER BY pv.event_time DESC, pv.id DESC) AS view_rank
    FROM customers c
    INNER JOIN page_views pv ON pv.user_id = c.id
    WHERE c.plan_type = 'pro'
        AND pv.page IN ('pricing', 'settings')
        AND pv.event_time >= DATE_SUB(CURDATE(), INTERVAL 7 DAY)
)
SELECT
    id,
    email,
    first_name,
    last_name,
    plan_type,
    candidate,
    page,
    device,
    browser,
    location,
    event_time
FROM ranked_views
WHERE view_rank = 1
ORDER BY id;

-- Query 3: one row per customer, by GROUP BY: number of qualifying views and pages, first and last
-- view. It cannot tell page or device of the last view; Query 2 can.
SELECT
    c.id,
    c.email,
    COUNT(*) AS view_count,
    COUNT(DISTINCT pv.page) AS page_count,
    MIN(pv.event_time) AS first_view,
    MAX(pv.event_time) AS last_view
FROM customers c
INNER JOIN page_views pv ON pv.user_id = c.id
WHERE c.plan_type = 'pro'
    AND pv.page IN ('pricing', 'settings')
    AND pv.event_time >= DATE_SUB(CURDATE(), INTERVAL 7 DAY)
GROUP BY c.id, c.email
ORDER BY view_count DESC, c.id;
