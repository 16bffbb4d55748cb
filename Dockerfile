# One image, three commands: `serve` (the default), `ingest` and `deliver`.
#
#   docker build --tag iterable-integration .
#   docker run --rm iterable-integration deliver --help
#
# The same base is used in both stages: a virtual environment belongs to the Python that made it.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS packages
WORKDIR /build
COPY requirements.txt ./
# Exactly the versions and hashes of the lock, as wheels: nothing is compiled, and no package runs
# code when it is installed. pip stays behind in this stage, and so do the logins by Kerberos, LDAP,
# OCI, OpenID and WebAuthn of mysql-connector, which no setting selects: a seventh of the image.
RUN python3 -m venv pip \
    && python3 -m venv --without-pip /opt/venv \
    && pip/bin/python -m pip --python /opt/venv/bin/python install --quiet --no-cache-dir \
        --no-compile --only-binary :all: --require-hashes --requirement requirements.txt \
    && rm -r /opt/venv/lib/python3*/site-packages/mysql/vendor/private \
        /opt/venv/lib/python3*/site-packages/mysql/vendor/plugin/authentication_*

FROM ${BASE}
ARG VERSION=1.0.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="iterable-integration" \
      org.opencontainers.image.description="Sends recently engaged pro customers from MySQL to Iterable" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

# Numbers, because Kubernetes cannot tell from a name that it is not root.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /state --shell /usr/sbin/nologin iterable \
    && install -d -o 10001 -g 10001 -m 0700 /state /output

COPY --from=packages /opt/venv /opt/venv
COPY deploy/image/ /usr/local/bin/
COPY LICENSE main.py cli.py db_connection.py iterable_client.py logger_config.py \
     database_setup.sql phase2_queries.sql requirements.txt /app/
COPY integration /app/integration
# The mock servers of the demos and of docker-compose.yml.
COPY sandbox /app/sandbox
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /app

# Nothing but the volumes is written, so that the root file system can be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    JOURNAL_FILE=/state/iterable_journal.db \
    LOG_FILE=/state/iterable_integration.log \
    OUTPUT_DIR=/output
WORKDIR /app
USER 10001:10001
VOLUME ["/state", "/output"]
EXPOSE 8000
STOPSIGNAL SIGTERM

# Of the default command. docker-compose.yml has the health checks of the other two.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["healthy", "serve"]
CMD ["serve"]
