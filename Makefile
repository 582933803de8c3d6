# Everything a person or a machine does with this checkout. `make` alone prints the list.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --no-header --quiet

.PHONY: help demo test check audit bench endurance system lock clean

help:
	@echo "make demo       the built-in recorded night, from microphones to a webhook receiver"
	@echo "make test       the whole test suite"
	@echo "make check      style, types and import contracts"
	@echo "make audit      known vulnerabilities of what is pinned (asks a service on the Internet)"
	@echo "make bench      accuracy and speed beside rivals, into benchmarks/results/"
	@echo "make endurance  the long forms of the reliability tests"
	@echo "make system     Debian packages that parts of the work want (needs root)"
	@echo "make lock       renew the pinned dependencies"

# The environment a user needs. Stamped, so that a second call costs nothing.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@echo "installing pinned dependencies into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: run 'make system' as root"; exit 69; }
	@$(PIP) install --no-compile --require-hashes --only-binary :all: -r requirements.lock
	@$(PIP) install --no-compile --no-deps --no-build-isolation --editable .
	@touch $@

# The same, and what developers and tests need.
$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "installing pinned test dependencies into $(VENV) ..."
	@$(PIP) install --no-compile --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.runtime
	@$(BIN)/shotfix demo fixtures/scenes/demo-night --out build/demo --force

test: $(VENV)/.dev
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! tests/system_packages_present; then $(MAKE) system; fi
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uvx pip-audit --strict --disable-pip --require-hashes -r requirements-dev.lock

bench: $(VENV)/.dev
	$(BIN)/python -m pip install -q -e ".[rivals]"
	$(BIN)/python -m benchmarks

endurance: $(VENV)/.dev
	$(BIN)/python -m pytest -m endurance -n 2 --dist loadgroup
	$(BIN)/python -m benchmarks.endurance.bed --write

system:
	DEBIAN_FRONTEND=noninteractive apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$(cat packages.debian)

lock:
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --extra build --output-file requirements.lock
	$(LOCK) --extra build --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean:
	rm -rf build dist *.egg-info $(VENV)
