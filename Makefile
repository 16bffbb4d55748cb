PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# The server of `make test-spark`; the program needs its client only.
SPARK_VERSION := 4.3.0
LOCK := $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command "make lock"

# The image is named IMAGE; PROFILES= leaves the mock servers out.
COMPOSE := docker compose
PROFILES ?= mock

.PHONY: help demo test coverage test-cluster test-image test-spark bench pdf check lint-files \
	format lock clean build secrets up down logs db-shell

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/runtime  ## run the whole job with a bundled database and a mock Iterable API; output in demo_output/
	$(BIN)/python main.py --demo

test: $(VENV)/development  ## run the tests
	$(BIN)/python -m pytest -n auto

# Twice the time of `make test`: every process that a test starts is measured as well.
coverage: $(VENV)/development  ## run the tests with branch coverage; fails below the limit
	$(BIN)/python -m pytest -n auto --cov --cov-report=term

# Needs Debian's mariadb-server, galera-4 and rsync; reports what is missing.
test-cluster: $(VENV)/development  ## run the tests that need a Galera cluster of three nodes
	TEST_CLUSTER=1 $(BIN)/python -m pytest tests/end_to_end/cluster

# Needs Java 17 or later; installs Spark into an environment of its own, beside its client.
test-spark: $(VENV)/spark/ready  ## run the tests that need a Spark cluster of two executors
	SPARK_SERVER_PYTHON=$(CURDIR)/$(VENV)/spark-server/bin/python \
		$(VENV)/spark/bin/python -m pytest tests/end_to_end/spark

# Needs root on Debian with buildah and debootstrap; reports what is missing.
test-image: $(VENV)/development  ## build the image without Docker, run it and check what it promises
	TEST_IMAGE=1 $(BIN)/python -m pytest -rA tests/end_to_end/image

bench: $(VENV)/runtime  ## measure speed and memory; output in bench_output/
	$(BIN)/python -m benchmarks $(BENCH)

lint-files: $(VENV)/development  ## check Dockerfile, compose file, workflow and manifests; offline
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci-cd.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/kubernetes-validate --strict --quiet deploy/kubernetes/iterable-integration.yaml
	$(BIN)/zizmor --offline --quiet --persona pedantic .github

# Needs Debian's libpango-1.0-0, libpangoft2-1.0-0 and fonts-dejavu.
pdf: $(VENV)/documentation  ## make one PDF of README and docs: handbook.pdf
	$(BIN)/python -m sandbox.handbook

check: $(VENV)/development  ## format check, lint, types, import rules and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(MAKE) --no-print-directory lint-files
	$(MAKE) --no-print-directory test

format: $(VENV)/development  ## format the code and apply lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Keeps the locked versions unless a .in file asks for others; LOCK_FLAGS=--upgrade takes the
# newest ones that the .in files allow.
lock: $(VENV)/lock/bin/uv  ## pin and hash all packages of requirements*.in in requirements*.txt
	$(LOCK) $(LOCK_FLAGS) --output-file requirements.txt requirements.in
	$(LOCK) $(LOCK_FLAGS) --output-file requirements-postgres.txt requirements-postgres.in
	$(LOCK) $(LOCK_FLAGS) --output-file requirements-duckdb.txt requirements-duckdb.in
	$(LOCK) $(LOCK_FLAGS) --output-file requirements-spark.txt requirements-spark.in
	$(LOCK) $(LOCK_FLAGS) --output-file requirements-dev.txt requirements-dev.in
	$(LOCK) $(LOCK_FLAGS) --output-file requirements-docs.txt requirements-docs.in

build: secrets  ## build the image
	$(COMPOSE) build

secrets:  ## create the secrets of docker-compose.yml that do not exist yet
	@deploy/compose/make-secrets.sh

up: secrets  ## start everything in containers, with a mock Iterable server; PROFILES= for the real one
	$(COMPOSE) $(addprefix --profile ,$(PROFILES)) up --build --detach --wait
	@echo "The window: http://127.0.0.1:$${WINDOW_PORT:-8000} (any user name; the password is in secrets/service_token)"

down:  ## stop the containers; the volumes stay
	$(COMPOSE) --profile mock down

logs:  ## follow the log of all containers
	$(COMPOSE) --profile mock logs --follow --tail 100

db-shell:  ## an SQL prompt on the database of the containers
	$(COMPOSE) exec db sh -c 'MYSQL_PWD="$$(cat /run/secrets/db_root_password)" exec mysql --user=root iterable_challenge'

clean:  ## remove the virtual environment, caches and demo output; never a volume or a secret
	rm -rf $(VENV) .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis demo_output

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/lock/bin/uv: | $(VENV)/bin/python
	$(BIN)/python -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/spark/ready: requirements-dev.txt requirements-spark.txt
	$(PYTHON) -m venv $(VENV)/spark
	$(VENV)/spark/bin/python -m pip install --quiet --disable-pip-version-check \
		-r requirements-dev.txt -r requirements-spark.txt
	$(PYTHON) -m venv $(VENV)/spark-server
	$(VENV)/spark-server/bin/python -m pip install --quiet --disable-pip-version-check \
		pyspark==$(SPARK_VERSION)
	@touch $@

$(VENV)/runtime: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/development: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/runtime

$(VENV)/documentation: requirements-docs.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@ $(VENV)/runtime
