# make demo   the whole method in miniature, into runs/demo
# make quick  linter and the tests that are pure and in process
# make test   linter, types and all tests
# Each makes .venv if it is missing; PYTHON=python3.12 picks another Python.
# uv installs it where there is one, pip elsewhere (UV= picks pip).

PYTHON ?= python3
UV ?= $(shell command -v uv 2>/dev/null)
VENV := .venv
RUN := $(VENV)/bin/python
PINS := $(wildcard constraints/*.txt)

.PHONY: demo quick test
# In processes of their own, where nothing else has been imported: the triton of
# a CUDA PyTorch crashes where TensorFlow came first.
NO_TORCH := --ignore-glob='*_torch.py'
# The tests of a file share runs and programs: one worker takes them all, the
# longest first (tests/conftest.py).
PYTEST := -m pytest -q -n auto --dist loadfile --no-loadscope-reorder
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(RUN) -m restpg_jax.main run --config=configs/demo.py --workdir=runs/demo

quick: $(VENV)/installed-test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) $(PYTEST) -m 'not slow' $(NO_TORCH)

test: $(VENV)/installed-test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m basedpyright
	$(RUN) $(PYTEST) tests/*/*_torch.py
	$(RUN) $(PYTEST) $(NO_TORCH)

# The stamps: nothing is installed again until setup.py or the pins change.
$(VENV)/installed: setup.py $(PINS)
	$(call fresh)
	$(call install,.)

$(VENV)/installed-test: setup.py $(PINS)
	$(call fresh)
	$(call install,.[test])
	@touch $(VENV)/installed

define fresh
$(call newer,$(PYTHON))
	$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(call newer,$(RUN))
endef

define newer
@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(1) is no Python of 3.11 or newer; try" \
	    "make PYTHON=python3.12, or remove $(VENV) if it is an older one" >&2; \
	  exit 2; }
endef

# With the tested versions, where there are some for this Python.
define install
@pins=constraints/python$$($(RUN) -c \
	  'import sys; print("%d.%d" % sys.version_info[:2])').txt; \
	if [ -f "$$pins" ]; then with="-c $$pins"; else with=; \
	  echo "no $$pins: installing the newest versions, which are untested"; fi; \
	echo "installing '$(1)' $$with (some minutes, once)"; \
	$(if $(UV),$(by_uv) || { echo "uv could not: pip tries"; $(by_pip); },$(by_pip))
@touch $@
endef

by_pip = $(RUN) -m pip install --quiet --disable-pip-version-check $$with \
  -e '$(1)'
# uv reads none of pip's settings: it is told where else packages lie, and what
# it cannot get (from a mirror that only pip knows, say) pip may. As pip does, it
# compiles to bytecode: where Python may write none itself, each process would
# compile all that it imports.
by_uv = UV_FIND_LINKS="$${UV_FIND_LINKS-$$(echo $$PIP_FIND_LINKS | tr ' ' ,)}" \
  $(UV) pip install --quiet --compile-bytecode --python $(RUN) $$with -e '$(1)'
