# Everything sets itself up: a virtual environment in .venv, installed with constraints.txt.
PYTHON ?= python3
TARGET ?= ultralytics
ARGS ?=
SEED ?= 0
VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

unexport PYTHONDONTWRITEBYTECODE  # tests start hundreds of processes: what they import is compiled once

.DEFAULT_GOAL := help
.PHONY: help validate test lint unit coverage hosts power golden golden-check readme speed bench ratios ratios-cuda trainer lowest clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "lossref needs Python 3.11 or newer; call make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (once; torch is large)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.installed
	@$(PIP) -e '.[test]'
	@touch $@

# With the peers of regression/runtimes in other runtimes; none of it is needed to use lossref. All in one step.
$(VENV)/.runtimes: $(BIN)/python pyproject.toml constraints.txt
	@$(PIP) -e '.[test,runtimes]'
	@touch $(VENV)/.installed
	@touch $(VENV)/.test
	@touch $@

# A target that ships with lossref needs its package; one of your own is installed by you.
$(VENV)/.ultralytics: $(VENV)/.installed
	@echo "installing ultralytics (once)"
	@$(PIP) -e '.[ultralytics]'
	@touch $@

ifeq ($(TARGET),ultralytics)
validate bench: $(VENV)/.ultralytics
else
validate bench: $(VENV)/.installed
endif
validate: ## the main job: check TARGET (default ultralytics) and write reports/TARGET/index.html
	@$(BIN)/lossref validate $(TARGET) $(ARGS); status=$$?; \
		if [ $$status -ne 0 ]; then echo "exit status of lossref validate: $$status"; fi; \
		if [ $$status -ne 1 ]; then exit $$status; fi  # 1: the job is done, and its answer is that something fails

test: $(VENV)/.runtimes ## everything CI runs: lint, types, property and regression tests (goldens among them), benchmarks
	@$(MAKE) --no-print-directory -j 2 lint unit
	@$(MAKE) --no-print-directory speed

lint: $(VENV)/.test ## ruff, ruff format --check, mypy (also on property_tests/typed: uses and misuses of the public names)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Whole runs over targets that hang and die, runs that are killed, and on a cluster: five minutes on two cores. And
# whether the drawn cases tell every setting, which changes with the generators alone (of recorded cases unit asks it).
RUNS := property_tests/test_hostile.py property_tests/test_interrupted.py property_tests/test_settings.py \
	property_tests/test_cluster_runs.py
# And the dearest of the rest, which are about words, or have a cheaper test beside them.
DEAR := property_tests/test_explanations.py::test_impostors_are_explained_without_themselves \
	property_tests/test_explanations.py::test_a_planted_fault_of_a_composite_is_named_beside_a_setting \
	property_tests/test_diff.py::test_where_it_changed_is_found_by_halves \
	property_tests/test_own_specs.py::test_generated_tests_pass \
	regression/test_real_models.py::test_some_steps_give_the_same_losses
PYTEST := pytest -n 3 --dist loadgroup --hypothesis-seed=$(SEED) -p no:benchmark \
	-W "ignore:Module already imported:pytest.PytestAssertRewriteWarning" --ignore=regression/test_benchmarks.py \
	$(addprefix --ignore=,$(RUNS)) $(addprefix --deselect=,$(DEAR))
unit: $(VENV)/.runtimes ## property_tests and regression, on three processes, for some only wait; SEED=n draws other cases
	@LOSSREF_SEED=$(SEED) $(BIN)/python -m $(PYTEST)

# SlipCover counts the lines of lossref that ran in the tests' own processes, for about a tenth more time; no gate. It
# rewrites bytecode, so that the steps of a formula lose their places in the source: tests that read those fail here.
coverage: $(VENV)/.runtimes ## the lines of lossref that property_tests and regression ran, without the processes that it starts
	@$(BIN)/python -m slipcover --source $(CURDIR)/lossref --json --out .coverage.json -m $(PYTEST); \
		$(BIN)/python -c 'import json; print("coverage of lossref by property_tests and regression: {percent_covered:.0f} %" \
		" of lines".format_map(json.load(open(".coverage.json"))["summary"]))'

hosts: $(VENV)/.test ## what unit leaves out: hostile targets, runs that are killed, every setting on drawn cases, what is dear
	@$(BIN)/python -m pytest -n 3 --dist loadgroup -p no:benchmark $(RUNS) $(DEAR)

power: $(VENV)/.test ## how many automatic mutants of the references are rejected: ARGS="--spec focal,iou --sample 25", or --all
	@$(BIN)/python regression/power $(ARGS)

golden: $(VENV)/.installed ## after an intended change: record ARGS (specs; none: all) anew, and review what moved
	@$(BIN)/lossref golden record $(ARGS)
	@if [ -e golden/.pending/pending.json ]; then $(BIN)/lossref golden review; fi

golden-check: $(VENV)/.installed ## compare the recorded cases with the oracle and the reference
	@$(BIN)/lossref golden check $(ARGS)

readme: $(VENV)/.installed ## write the table of specs in README.md anew
	@$(BIN)/lossref table README.md

speed: $(VENV)/.test ## a quick look at the speed of oracle and references, with pytest-benchmark
	@$(BIN)/python -m pytest regression/test_benchmarks.py --benchmark-disable-gc --benchmark-columns=min,median,rounds -p no:xdist

bench: ## time TARGET (default ultralytics) against the reference, in at most ten minutes: reports/bench
	@$(BIN)/lossref bench $(TARGET) $(ARGS)

ratios: $(VENV)/.test ## how much faster than the installed ultralytics, the training workload of every loss
	@$(BIN)/python regression/ratios $(ARGS)

ratios-cuda: $(VENV)/.test ## the same on a GPU, at most eight minutes: eager, compiled, as a CUDA graph; it goes on where it ended
	@$(BIN)/python regression/ratios --device cuda --csv reports/ratios-cuda.csv $(ARGS)

trainer: $(VENV)/.test ## the trainer of the installed ultralytics with lossref's criterion: the losses of its own, half a minute
	@$(BIN)/python -W ignore regression/trainer.py $(ARGS)

# Not with constraints.txt: whatever has no bound of its own is pip's choice, as it is for a user.
$(LOWEST)/.installed: pyproject.toml constraints.txt regression/lowest.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "the oldest numpy has wheels for Python 3.11 and 3.12; call make lowest PYTHON=/path/to/python3.12"; exit 1; }
	@echo "setting up $(LOWEST) (once; torch is large)"
	@$(PYTHON) -m venv $(LOWEST)
	@$(PYTHON) regression/lowest.py pins > $(LOWEST)/pins.txt
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -r $(LOWEST)/pins.txt -e .
	@touch $@

lowest: $(LOWEST)/.installed ## the oldest release of every dependency that pyproject.toml allows: a smoke test
	@$(LOWEST)/bin/python regression/lowest.py smoke

clean: ## remove the virtual environments, caches and written reports
	@rm -rf $(VENV) $(LOWEST) .hypothesis .pytest_cache .mypy_cache .ruff_cache .benchmarks .coverage.json
	@find reports -mindepth 1 -maxdepth 1 ! -name README.md ! -name example -exec rm -rf {} +
