# Runs once, in the empty database of docker-compose.yml: the tables, and an account with the rights
# that it needs for each program. MySQL's image runs what is in /docker-entrypoint-initdb.d.
set -eu

run_sql() {
    MYSQL_PWD="$(cat "$MYSQL_ROOT_PASSWORD_FILE")" mysql --user=root --default-character-set=utf8mb4
}

# The password in the file, as the inside of an SQL string.
password() {
    sed -e 's/\\/\\\\/g' -e "s/'/''/g" "$SECRETS/db_$1_password"
}

SECRETS="$(dirname "$MYSQL_ROOT_PASSWORD_FILE")"

# Everything but the sample rows.
sed '/^INSERT/,/;$/d' /schema/database_setup.sql | run_sql

run_sql <<SQL
CREATE USER 'ingest'@'%' IDENTIFIED BY '$(password ingest)';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, CREATE VIEW
    ON iterable_challenge.* TO 'ingest'@'%';
CREATE USER 'deliver'@'%' IDENTIFIED BY '$(password deliver)';
GRANT SELECT ON iterable_challenge.customers TO 'deliver'@'%';
GRANT SELECT ON iterable_challenge.page_views TO 'deliver'@'%';
CREATE USER 'window'@'%' IDENTIFIED BY '$(password window)';
GRANT SELECT ON iterable_challenge.* TO 'window'@'%';
SQL
