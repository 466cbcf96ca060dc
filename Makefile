PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test browser docs links lint format clean

# Installed again whenever what is to be installed changes.
$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python examples/quickstart.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What tests/clients needs, on Debian and as root.
browser:
	command -v chromium || (apt-get update -qq && apt-get install -y -qq chromium)
	npm ci --prefix tests/clients

# The site, in build/site.
docs: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	$(BIN)/python -m sphinx -q -E -W --keep-going docs build/site

# What the pages link to elsewhere. Needs the network.
links: docs
	$(BIN)/python -m sphinx -q -E -b linkcheck docs build/links

# Imports and types are checked in the tree as it installs: `search/` inside `keras_share/`.
lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/lint && mkdir -p build/lint
	cp -r keras_share build/lint && cp -r search build/lint/keras_share
	cd build/lint && PYTHONPATH=. ../../$(BIN)/lint-imports --config ../../pyproject.toml
	cd build/lint && ../../$(BIN)/mypy --config-file ../../pyproject.toml

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info
