# `make` alone lists the targets. The first use of one makes .venv; after that each starts at once.
# Every path is relative, and tools run as `python -m` (the first line of a console script names its
# interpreter by an absolute path), so that the checkout may lie in a directory whose name has spaces.

PYTHON ?= python3

python := .venv/bin/python
install := $(python) -m pip install --quiet --disable-pip-version-check --editable

# What is typed for a target is not for the scripts and tests it runs, which may use make themselves.
MAKEOVERRIDES :=
unexport SCRIPTS COMMANDS NAME ROOT JOBS TIMEOUT ARGS PYTEST_ARGS MAKEFLAGS MFLAGS
# Compiled sources are kept: the tests start thousands of programs.
unexport PYTHONDONTWRITEBYTECODE

# Two targets must never install into .venv at once.
.NOTPARALLEL:
.PHONY: help batch chain pipe workflow discover test lint bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s  %s\n", $$1, $$2 }' Makefile

ifneq ($(strip $(SCRIPTS)),)
batch: .venv/installed
	@$(python) -m orchestrator batch $(if $(JOBS),--jobs $(JOBS)) $(if $(TIMEOUT),--timeout $(TIMEOUT)) \
		$(SCRIPTS) $(if $(ARGS),-- $(ARGS))
else
batch:  ## run SCRIPTS="a.py b.py" [JOBS=4] [TIMEOUT=90s, for each script] [ARGS="for every script"]
	@echo 'Which scripts? Type, for example:' >&2
	@echo '    make batch SCRIPTS="scripts/examples/*.py" TIMEOUT=3' >&2
	@echo "    make batch SCRIPTS=\"'my script.py' other.py\" JOBS=2" >&2
	@exit 2
endif

ifneq ($(strip $(SCRIPTS)),)
chain: .venv/installed
	@$(python) -m orchestrator chain $(if $(TIMEOUT),--timeout $(TIMEOUT)) $(SCRIPTS) $(if $(ARGS),-- $(ARGS))
else
chain:  ## run SCRIPTS="a.py b.py" one after another, up to the first failure [TIMEOUT=90s] [ARGS=...]
	@echo 'Which scripts? Type, for example:' >&2
	@echo '    make chain SCRIPTS="fetch.py report.py"' >&2
	@exit 2
endif

ifneq ($(strip $(COMMANDS)),)
pipe: .venv/installed
	@$(python) -m orchestrator pipe $(if $(TIMEOUT),--timeout $(TIMEOUT)) $(COMMANDS)
else
pipe:  ## run COMMANDS="'echo hello' 'tr a-z A-Z'", each reading what the one before printed [TIMEOUT=90s]
	@echo 'Which commands? Type, for example:' >&2
	@echo "    make pipe COMMANDS=\"'echo hello' 'tr a-z A-Z'\"" >&2
	@exit 2
endif

ifneq ($(strip $(NAME)),)
workflow: .venv/installed
	@$(python) -m orchestrator run $(NAME)
else
workflow: .venv/installed  ## run the workflow NAME=ci; without a name list them
	@$(python) -m orchestrator workflows
endif

discover: .venv/installed  ## list the scripts of this project [ROOT=folder]
	@$(python) -m orchestrator discover -v $(ROOT)

test: .venv/installed-dev  ## run the tests and the doctests [PYTEST_ARGS="-k name"]
	$(python) -m pytest -n 4 $(PYTEST_ARGS)

lint: .venv/installed-dev  ## check style, format and types
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

bench: .venv/installed-bench  ## measure the speed against other pools [ARGS="--quick --rows 1,2"]
	$(python) scripts/bench/run.py $(ARGS)

clean:  ## remove .venv and all else that the tools made
	rm -rf .venv build dist *.egg-info .coverage .coverage.* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is touched last, so a step that was interrupted is done again: a half-made environment is
# cleared and remade, a half-done installation resumed.

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed. Name it: make PYTHON=python3.13 ...' >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/installed: .venv/made setup.cfg pyproject.toml
	$(install) '.[examples]'
	@touch $@

.venv/installed-dev: .venv/made setup.cfg pyproject.toml
	$(install) '.[dev]'
	@touch $@

.venv/installed-bench: .venv/made setup.cfg pyproject.toml
	$(install) '.[bench]'
	@touch $@
