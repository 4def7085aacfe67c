# make run    set everything up and start Branchline on this machine
# make test   check the code and run the tests, from nothing

VENV   := .venv
BIN    := $(VENV)/bin
LOCK   := config/requirements.lock
SOURCE := setup.cfg pyproject.toml $(LOCK) config/install.py
UI     := web/static/index.html
# The extras of setup.cfg that everything on one machine needs.
LOCAL  := cli,flower,local,vectors,workers

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test lint format ui sdk audit frameworks gradio real-model retrieval bench soak lock clean

help:
	@echo 'make run          set everything up and start Branchline; Ctrl-C stops it'
	@echo 'make test         check the code and run the tests; ARGS="-k stream -x" goes to pytest'
	@echo 'make lint         check the code only: ruff, mypy, import-linter, tsc'
	@echo 'make format       format the code'
	@echo 'make audit        look for known vulnerabilities in what config/requirements.lock names'
	@echo 'make ui           build the browser interface'
	@echo 'make sdk          build the packages branchline-sdk (Python) and branchline (JavaScript), for authors of workers, and @branchline/panel, for pages, into dist'
	@echo 'make frameworks   run the tests of agents that are made with other libraries'
	@echo 'make gradio       install Gradio, for branchline gradio, and run the tests of its page'
	@echo 'make real-model   run the tests that talk to a real language model'
	@echo 'make retrieval    measure how well and how fast the knowledge base is searched, with a small embedding model'
	@echo 'make bench        measure everything, in five minutes; ARGS="rate start" chooses'
	@echo 'make soak         break everything under load for ten minutes; SEED=7 SECONDS=60 choose'
	@echo 'make lock         choose the newest versions that setup.cfg allows'
	@echo 'make clean        remove what was installed and built; the data in .branchline stays'

run: $(VENV)/installed $(UI)
	@exec $(BIN)/branchline up $(ARGS)

# Each stack of the tests is six processes, so what they import is compiled once and kept.
test: export PYTHONDONTWRITEBYTECODE :=
# One process more than there are cores, for half of the tests mostly wait. With two more, tests that
# wait for several processes to start run out of their time.
test: lint
	@cd web/ui && ./with-node npm run --silent test
	@$(BIN)/python -m pytest --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadfile --no-loadscope-reorder $(ARGS)

# mypy uses one core for as long as everything after it needs on another one.
lint: $(VENV)/installed-test $(UI)
	@$(BIN)/ruff check --config config/ruff.toml .
	@$(BIN)/ruff format --config config/ruff.toml --check .
	@$(BIN)/mypy & mypy=$$!; trap 'kill $$mypy' INT TERM; \
	$(BIN)/lint-imports --config setup.cfg && (cd web/ui && ./with-node npm run --silent check); rest=$$?; \
	wait $$mypy && exit $$rest

format: $(VENV)/installed-test
	@$(BIN)/ruff check --config config/ruff.toml --fix .
	@$(BIN)/ruff format --config config/ruff.toml .

audit: $(VENV)/installed-audit
	@$(BIN)/pip-audit --requirement $(LOCK) --no-deps --disable-pip --progress-spinner off $(ARGS)

sdk: $(VENV)/installed $(UI)
	@$(BIN)/python config/sdk/build.py dist
	@$(BIN)/python config/sdk/pack.py dist
	@$(BIN)/python config/sdk/pack_panel.py dist

frameworks: $(VENV)/installed-frameworks
	@$(BIN)/python -m pytest -m frameworks $(ARGS)

gradio: $(VENV)/installed-gradio
	@$(BIN)/python -m pytest tests/browser/test_gradio.py -m 'not soak' $(ARGS)

real-model: $(VENV)/installed-real-model
	@$(BIN)/python -m pytest -m real_model $(ARGS)

retrieval: $(VENV)/installed-retrieval
	@$(BIN)/python -m bench.knowledge $(ARGS)

bench: $(VENV)/installed-bench
	@$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/installed-bench
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)
	@$(BIN)/python -m pytest -m soak

lock: | $(BIN)/python
	@rm -rf $(VENV)/lock && $(BIN)/python -m venv $(VENV)/lock
	@$(VENV)/lock/bin/python config/install.py lock
	@$(VENV)/lock/bin/uv pip compile setup.cfg --all-extras --universal --python-version 3.11 --generate-hashes \
	    --upgrade --no-header --quiet --output-file $(LOCK).new
	@{ echo '# Everything in one exact version, with the hashes of its files for every platform, made by'; \
	    echo '# `make lock`; config/install.py installs what an extra needs of it.'; cat $(LOCK).new; } > $(LOCK)
	@rm -rf $(LOCK).new $(VENV)/lock

clean:
	rm -rf $(VENV) web/static web/ui/node_modules web/ui/*/node_modules web/ui/openapi.json web/ui/client/src/api/schema.d.ts
	rm -rf build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ── the browser interface ───────────────────────────────────────────────────
# Its types are made from the API's document, which is written anew only where it has changed.

UI_SOURCES := $(shell find web/ui -name node_modules -prune -o -type f \
	! -name openapi.json ! -name schema.d.ts ! -name '*.test.ts' -print)
API := $(wildcard web/api/*.py web/api/schemas/*.py web/sessions/*.py runtime/sessions/model.py web/panel/*.py runtime/panel/model.py \
	web/knowledge/*.py runtime/knowledge/model.py web/systems/*.py runtime/systems/model.py) runtime/model.py
NPM := cd web/ui && ./with-node npm

ui: $(VENV)/installed $(UI)

$(UI): $(UI_SOURCES) web/ui/openapi.json web/ui/node_modules/.package-lock.json
	@echo 'Building the browser interface ...'
	@$(NPM) run --silent types >/dev/null
	@$(NPM) run --silent build -- --logLevel warn
	@touch $@

web/ui/node_modules/.package-lock.json: web/ui/package.json $(wildcard web/ui/*/package.json) web/ui/package-lock.json | $(BIN)/python
	@echo 'Fetching what the browser interface is made of (the first time takes about half a minute) ...'
	@$(BIN)/python config/install.py --npm
	@touch $@

web/ui/openapi.json: $(VENV)/openapi
	@:

$(VENV)/openapi: $(API)
	@$(BIN)/branchline openapi > web/ui/openapi.new
	@cmp -s web/ui/openapi.new web/ui/openapi.json && rm web/ui/openapi.new || mv web/ui/openapi.new web/ui/openapi.json
	@touch $@

# ── installing ──────────────────────────────────────────────────────────────
# Each stamp is newer than what it was made from, so a second call costs nothing. What was
# installed is of use to the Python that it was installed with: if that is gone, or has become
# another version, everything is made anew.

$(shell if [ ! -x $(BIN)/python ]; then rm -f $(VENV)/installed*; \
    elif lib=$$($(BIN)/python -Ic 'import sys; print("%s/lib/python%d.%d" % (sys.prefix, *sys.version_info[:2]))') && \
    [ ! -d "$$lib" ]; then rm -f $(BIN)/python $(VENV)/installed*; fi)

$(VENV)/installed: EXTRAS := $(LOCAL)
$(VENV)/installed-test: EXTRAS := $(LOCAL),test
$(VENV)/installed-audit: EXTRAS := $(LOCAL),test,audit
$(VENV)/installed-bench: EXTRAS := $(LOCAL),test,bench
$(VENV)/installed-real-model: EXTRAS := $(LOCAL),test,real-model
$(VENV)/installed-retrieval: EXTRAS := $(LOCAL),test,bench,embedding-model
$(VENV)/installed-frameworks: EXTRAS := $(LOCAL),test,frameworks
$(VENV)/installed-s3: EXTRAS := $(LOCAL),test,s3,s3-server
$(VENV)/installed-gradio: EXTRAS := $(LOCAL),test,gradio

$(VENV)/installed $(VENV)/installed-test $(VENV)/installed-audit $(VENV)/installed-bench $(VENV)/installed-real-model $(VENV)/installed-retrieval $(VENV)/installed-frameworks $(VENV)/installed-s3 $(VENV)/installed-gradio: $(SOURCE) | $(BIN)/python
	@echo "Installing what Branchline needs into $(VENV) (the first time takes about a minute) ..."
	@$(BIN)/python config/install.py $(EXTRAS)
	@touch $@

# The first Python that is new enough; PYTHON=... names another.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Branchline needs Python 3.11 or newer, and $$(python3 --version 2>/dev/null || echo 'no Python') is here: install one (Debian: apt install python3 python3-venv), or name it: make run PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	fi; \
	if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
	    echo "This Python has no venv module: install it (Debian and Ubuntu: apt install python3-venv), then call make again." >&2; \
	    exit 1; \
	fi; \
	echo "Making a virtual environment in $(VENV) with $$($$python --version) ..."; \
	$$python -m venv --clear $(VENV) || { \
	    rm -f $(BIN)/python; \
	    echo "No virtual environment could be made in $(VENV), for the reason above. Call make again once it is mended." >&2; \
	    exit 1; \
	}
