-- Sample database: 15 customers and 40 page views, of which Query 2 returns three customers.
--
--   mysql -u root -p < database_setup.sql
--
-- WARNING: drops and recreates the tables `customers` and `page_views` of the database
-- `iterable_challenge`. Do not run it on a server where they hold data that you want to keep.
-- It also drops the tables and views in which the ingest keeps its checkpoints, runs and raw data:
-- they describe the rows that are dropped. The next run of the ingest recreates them.
-- No other table, database, user or grant is touched. Every run gives the same result.
--
-- The program only reads. To create an account for it, replace % with the host that the program
-- runs on, if you can:
--
--   CREATE USER 'iterable_reader'@'%' IDENTIFIED BY 'choose-a-password';
--   GRANT SELECT ON iterable_challenge.customers TO 'iterable_reader'@'%';
--   GRANT SELECT ON iterable_challenge.page_views TO 'iterable_reader'@'%';
--
-- Requires MySQL 8.0+ or MariaDB 10.2+ (the queries use CTEs and window functions).

SET NAMES utf8mb4;
SET time_zone = '+00:00';

-- This collation ignores case, so one address cannot belong to two customers. It exists in
-- MySQL 8.0 to 9.7 and in MariaDB.
CREATE DATABASE IF NOT EXISTS iterable_challenge
    CHARACTER SET utf8mb4
    COLLATE utf8mb4_unicode_520_ci;

USE iterable_challenge;

DROP VIEW IF EXISTS normalized_data;
DROP VIEW IF EXISTS raw_csv_data;
DROP VIEW IF EXISTS raw_api_data;
DROP TABLE IF EXISTS etl_records;
DROP TABLE IF EXISTS etl_rejected;
DROP TABLE IF EXISTS etl_raw_data;
DROP TABLE IF EXISTS etl_checkpoint;
DROP TABLE IF EXISTS etl_runs;
DROP TABLE IF EXISTS etl_schema;
DROP TABLE IF EXISTS page_views;
DROP TABLE IF EXISTS customers;

-- VARCHAR and not TEXT: MySQL cannot make a TEXT column UNIQUE without a prefix length.
CREATE TABLE customers (
    id         INT          NOT NULL AUTO_INCREMENT,
    email      VARCHAR(255) NOT NULL,
    first_name VARCHAR(100),
    last_name  VARCHAR(100),
    plan_type  ENUM('free', 'basic', 'pro', 'enterprise') NOT NULL,
    candidate  VARCHAR(100),
    PRIMARY KEY (id),
    CONSTRAINT uq_customers_email UNIQUE (email)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- browser is free text: Chrome, Firefox, Safari or Edge here, whatever a client says elsewhere.
CREATE TABLE page_views (
    id         BIGINT       NOT NULL AUTO_INCREMENT,
    user_id    INT          NOT NULL,
    page       ENUM('pricing', 'settings', 'features', 'home', 'blog') NOT NULL,
    device     ENUM('mobile', 'desktop', 'tablet'),
    browser    VARCHAR(100),
    location   VARCHAR(255),
    event_time TIMESTAMP    NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (id),
    CONSTRAINT fk_page_views_user FOREIGN KEY (user_id) REFERENCES customers (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- For Query 2: from a customer straight to their views of one page since one moment.
-- docs/sql.md has the measurement. It also serves the foreign key.
CREATE INDEX idx_page_views_user_page_time ON page_views (user_id, page, event_time);

-- For the search of the window by the beginning of a name; docs/window.md.
CREATE INDEX idx_customers_first_name ON customers (first_name);
CREATE INDEX idx_customers_last_name ON customers (last_name);

INSERT INTO customers (id, email, first_name, last_name, plan_type, candidate) VALUES
    -- The three that Query 2 finds.
    (1,  'delgadoalex10@gmail.com',    'Alex',     'Delgado',  'pro',        'Alex Delgado'),
    (2,  'sarah.johnson@email.com',    'Sarah',    'Johnson',  'pro',        'yes'),
    (3,  'mia.harris@email.com',       'Mia',      'Harris',   'pro',        'yes'),
    -- Near misses: pro, but too long ago, on other pages, or never here.
    (4,  'liam.brown@email.com',       'Liam',     'Brown',    'pro',        'no'),
    (5,  'emma.davis@email.com',       'Emma',     'Davis',    'pro',        'yes'),
    (6,  'noah.wilson@email.com',      'Noah',     'Wilson',   'pro',        'no'),
    (7,  'olivia.moore@email.com',     'Olivia',   'Moore',    'pro',        NULL),
    -- Near misses: here, now, on the right pages, but not pro.
    (8,  'william.taylor@email.com',   'William',  'Taylor',   'enterprise', 'yes'),
    (9,  'ava.anderson@email.com',     'Ava',      'Anderson', 'enterprise', 'no'),
    (10, 'james.thomas@email.com',     'James',    'Thomas',   'basic',      'yes'),
    (11, 'isabella.jackson@email.com', 'Isabella', 'Jackson',  'basic',      'no'),
    (12, 'lucas.white@email.com',      'Lucas',    'White',    'free',       'yes'),
    (13, 'sophia.martin@email.com',    'Sophia',   'Martin',   'free',       'no'),
    (14, 'henry.lee@email.com',        NULL,       NULL,       'free',       NULL),
    (15, 'amelia.clark@email.com',     'Amelia',   'Clark',    'basic',      'no');

-- Times count back from now. Query 2 looks back to midnight seven days ago, which is between
-- 7 and 8 days: nothing below lies in that gap, so the time of day never changes the result.
INSERT INTO page_views (id, user_id, page, device, browser, location, event_time) VALUES
    -- Alex: the latest qualifying view is not the last row, and newer views are on other pages.
    (1,  1,  'pricing',  'desktop', 'Chrome',  'San Francisco CA', DATE_SUB(NOW(), INTERVAL 5 HOUR)),
    (2,  1,  'home',     'desktop', 'Chrome',  'San Francisco CA', DATE_SUB(NOW(), INTERVAL 6 HOUR)),
    (3,  1,  'settings', 'mobile',  'Safari',  'San Francisco CA', DATE_SUB(NOW(), INTERVAL 50 HOUR)),
    (4,  1,  'pricing',  'tablet',  'Firefox', 'Oakland CA',       DATE_SUB(NOW(), INTERVAL 120 HOUR)),
    (5,  1,  'pricing',  'mobile',  'Chrome',  'Oakland CA',       DATE_SUB(NOW(), INTERVAL 20 DAY)),
    (6,  1,  'blog',     'mobile',  'Safari',  'San Francisco CA', DATE_SUB(NOW(), INTERVAL 1 HOUR)),
    -- Sarah: an older view of the other page, newer views that do not count.
    (7,  2,  'pricing',  'desktop', 'Edge',    'Newark NJ',        DATE_SUB(NOW(), INTERVAL 72 HOUR)),
    (8,  2,  'settings', 'desktop', 'Chrome',  'New York NY',      DATE_SUB(NOW(), INTERVAL 29 HOUR)),
    (9,  2,  'settings', 'mobile',  'Safari',  'New York NY',      DATE_SUB(NOW(), INTERVAL 27 HOUR)),
    (10, 2,  'features', 'mobile',  'Safari',  'New York NY',      DATE_SUB(NOW(), INTERVAL 26 HOUR)),
    (11, 2,  'home',     'mobile',  'Safari',  'New York NY',      DATE_SUB(NOW(), INTERVAL 30 MINUTE)),
    -- Mia: two qualifying views in the same second; the higher id is the later one.
    (12, 3,  'settings', 'desktop', 'Firefox', 'Philadelphia PA',  DATE_SUB(NOW(), INTERVAL 2 HOUR)),
    (13, 3,  'pricing',  'tablet',  'Safari',  'Philadelphia PA',  DATE_SUB(NOW(), INTERVAL 2 HOUR)),
    (14, 3,  'pricing',  'desktop', 'Chrome',  'Camden NJ',        DATE_SUB(NOW(), INTERVAL 160 HOUR)),
    (15, 3,  'blog',     'tablet',  'Safari',  'Philadelphia PA',  DATE_SUB(NOW(), INTERVAL 10 MINUTE)),
    -- Liam: pro, but eight days ago (and three hours, for the sake of daylight saving).
    (16, 4,  'pricing',  'desktop', 'Chrome',  'Austin TX',        DATE_SUB(NOW(), INTERVAL 195 HOUR)),
    (17, 4,  'settings', 'desktop', 'Chrome',  'Austin TX',        DATE_SUB(NOW(), INTERVAL 9 DAY)),
    (18, 4,  'home',     'desktop', 'Chrome',  'Austin TX',        DATE_SUB(NOW(), INTERVAL 3 HOUR)),
    -- Emma: pro and here every day, on other pages.
    (19, 5,  'blog',     'mobile',  'Safari',  'Seattle WA',       DATE_SUB(NOW(), INTERVAL 1 HOUR)),
    (20, 5,  'features', 'mobile',  'Safari',  'Seattle WA',       DATE_SUB(NOW(), INTERVAL 25 HOUR)),
    (21, 5,  'home',     'desktop', 'Firefox', 'Seattle WA',       DATE_SUB(NOW(), INTERVAL 49 HOUR)),
    (22, 5,  'blog',     'desktop', 'Firefox', 'Seattle WA',       DATE_SUB(NOW(), INTERVAL 6 DAY)),
    -- Olivia: pro, last month. (Noah, pro, was never here.)
    (23, 7,  'pricing',  'tablet',  'Safari',  'Denver CO',        DATE_SUB(NOW(), INTERVAL 30 DAY)),
    (24, 7,  'settings', 'tablet',  'Safari',  'Denver CO',        DATE_SUB(NOW(), INTERVAL 31 DAY)),
    -- William and Ava: enterprise, yesterday and today.
    (25, 8,  'pricing',  'desktop', 'Edge',    'Chicago IL',       DATE_SUB(NOW(), INTERVAL 1 DAY)),
    (26, 8,  'settings', 'desktop', 'Edge',    'Chicago IL',       DATE_SUB(NOW(), INTERVAL 28 HOUR)),
    (27, 9,  'pricing',  'mobile',  'Chrome',  'Boston MA',        DATE_SUB(NOW(), INTERVAL 4 HOUR)),
    (28, 9,  'blog',     'mobile',  'Chrome',  'Boston MA',        DATE_SUB(NOW(), INTERVAL 5 HOUR)),
    -- James, Isabella and Amelia: basic.
    (29, 10, 'pricing',  'desktop', 'Firefox', 'Portland OR',      DATE_SUB(NOW(), INTERVAL 2 HOUR)),
    (30, 10, 'features', 'desktop', 'Firefox', 'Portland OR',      DATE_SUB(NOW(), INTERVAL 3 HOUR)),
    (31, 11, 'settings', 'mobile',  'Chrome',  'Miami FL',         DATE_SUB(NOW(), INTERVAL 90 MINUTE)),
    (32, 11, 'home',     'mobile',  'Chrome',  'Miami FL',         DATE_SUB(NOW(), INTERVAL 12 DAY)),
    (33, 15, 'pricing',  'desktop', 'Safari',  'Phoenix AZ',       DATE_SUB(NOW(), INTERVAL 5 DAY)),
    -- Lucas, Sophia and Henry: free.
    (34, 12, 'pricing',  'mobile',  'Safari',  'Atlanta GA',       DATE_SUB(NOW(), INTERVAL 20 MINUTE)),
    (35, 12, 'pricing',  'mobile',  'Safari',  'Atlanta GA',       DATE_SUB(NOW(), INTERVAL 2 DAY)),
    (36, 12, 'features', 'mobile',  'Safari',  'Atlanta GA',       DATE_SUB(NOW(), INTERVAL 10 DAY)),
    (37, 13, 'settings', 'tablet',  'Edge',    'Dallas TX',        DATE_SUB(NOW(), INTERVAL 3 HOUR)),
    (38, 13, 'home',     'tablet',  'Edge',    'Dallas TX',        DATE_SUB(NOW(), INTERVAL 4 DAY)),
    (39, 14, 'pricing',  NULL,      NULL,      NULL,               DATE_SUB(NOW(), INTERVAL 1 DAY)),
    (40, 14, 'blog',     'desktop', 'Chrome',  'Detroit MI',       DATE_SUB(NOW(), INTERVAL 40 DAY));
