#!/bin/sh
# Creates the secrets of docker-compose.yml that do not exist yet; never changes one that does.
#
# The folder is its owner's alone. The files inside can be read by all, because the container's user,
# who is none of this machine's, reads the file that is mounted.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p -m 700 secrets

create() {
    [ -e "secrets/$1" ] || (umask 222 && printf '%s\n' "$2" > "secrets/$1" && echo "created secrets/$1")
}

random() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

for account in root ingest deliver window; do
    create "db_${account}_password" "$(random)"
done
create service_token "$(random)"
# The key that the mock Iterable server accepts.
create iterable_api_key sandbox-key
create crm_token none
