# Two commands do everything: `make run` and `make test`. Each sets up what it needs, also on a fresh machine.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start some hundred processes; without compiled files each of them compiles the whole program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test screenshots check soak fuzz bench servers docs lock wheel clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

run: $(VENV)/run ## environment, install, discover this host, start; dashboard on http://127.0.0.1:9848
	exec $(BIN)/wcr-watchd run $(ARGS)

# Most tests wait for real servers, hence more of them at a time than there are processors. Collecting them once beside
# the checks leaves them compiled; on a fresh checkout each worker would do it for itself.
test: $(VENV)/dev servers ## environment, every real server the tests need, the whole suite
	$(BIN)/pytest --collect-only --quiet > /dev/null & $(MAKE) check; wait
	$(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

screenshots: $(VENV)/dev servers ## every page at three widths, light and dark, into build/screenshots
	PICTURES=all $(BIN)/pytest tests/browser/test_every_page.py

check: $(VENV)/dev ## format, lint, types, floors of the house, generated pages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m wcr_watchd.config.reference | diff -u docs/checks.md - || { echo "docs/checks.md is old: make docs"; exit 1; }
	$(BIN)/python -m wcr_watchd.config.reference $(VENV)/probes && diff -ru docs/probes $(VENV)/probes || { echo "docs/probes is old: make docs"; exit 1; }

soak: $(VENV)/dev servers ## kills, isolation, reloads, simulated days, an hour of faults: make soak ARGS="--minutes 20 --kills 100"
	$(BIN)/python -m tests.soak $(ARGS)

fuzz: $(VENV)/dev ## whatever outsiders can feed in, by hypothesis and atheris (six minutes): make fuzz ARGS="--seconds 600 http"
	$(BIN)/pip install --quiet --require-hashes -r requirements/fuzz.txt
	$(BIN)/python -m tests.fuzz.run $(ARGS)

bench: $(VENV)/dev ## forecasts beside naive ones, then all beside the Prometheus stack and Monit, table into docs/performance.md (half an hour): make bench ARGS="--quick"
	scripts/install-servers bench
	$(BIN)/python -m tests.bench.forecasts
	$(BIN)/python -m tests.bench --page docs/performance.md $(ARGS)

servers: ## the real servers and tools of the tests, as Debian packages
	scripts/install-servers

docs: $(VENV)/dev ## write the reference of checks and channels anew
	$(BIN)/python -m wcr_watchd.config.reference > docs/checks.md
	$(BIN)/python -m wcr_watchd.config.reference docs/probes

lock: $(VENV)/dev ## renew the locked dependencies
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --upgrade --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --quiet \
		--group dev pyproject.toml --output-file requirements/dev.txt
	sed -n 's/ *\\$$//;s/^\([a-z0-9].*==.*\)/\1/p' requirements/dev.txt > .venv/tried-together
	$(BIN)/uv pip compile --upgrade --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --quiet \
		--constraint .venv/tried-together pyproject.toml --output-file requirements/run.txt
	$(BIN)/uv pip compile --upgrade --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --quiet \
		--group fuzz --output-file requirements/fuzz.txt

wheel: $(VENV)/dev ## wheel and source distribution in dist/
	$(BIN)/python -m build

clean: ## remove everything that was made here
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A stamp per kind of environment; a changed lock or a moved checkout makes it anew.
$(VENV)/run $(VENV)/dev: requirements/run.txt requirements/dev.txt pyproject.toml scripts/make-environment
	scripts/make-environment $(VENV) $(@F)
