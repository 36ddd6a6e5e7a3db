# Two commands are all a fresh machine needs: `make demo` and `make test`. Each makes the environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export MPLBACKEND := Agg
# A worker for each CPU; a file's tests stay together, in the order that tests/conftest.py gives the files.
PARALLEL := -n logical --dist loadfile --no-loadscope-reorder
FAST := not service and not browser and not slow

.PHONY: help demo test quick pythons lowest litellm fix docs check bench screenshots lock clean

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: $(READY) ## import, train, compare, route and register on the bundled sample
	$(BIN)/pointsman demo

test: $(READY) ## every check: format, lint, types, tests, notebooks; ARGS=for pytest; COVERAGE=1 says what no test runs
	tests/services/install.sh
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/pytest $(PARALLEL) $(if $(COVERAGE),--cov --cov-report=) $(ARGS)
ifdef COVERAGE
	@$(BIN)/coverage report | sed -n '1,12p;$$p'  # the ten files with the least, and the total
endif

quick: $(READY) ## format, lint, types and the tests without services, browser and whole runs, up to the first failure
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest $(PARALLEL) -m "$(FAST)" -x -q $(ARGS)

pythons: ## the tests of `make quick` on other Pythons: ARGS="3.12 3.13"
	FAST="$(FAST)" tests/services/pythons.sh $(ARGS)

lowest: ## the tests of `make quick` on the lowest versions that pyproject.toml allows
	FAST="$(FAST)" tests/services/lowest.sh

litellm: $(READY) ## the tests that touch LiteLLM, on the newest release that we allow: ARGS=1.110.2 for another
	tests/services/litellm.sh $(ARGS)

fix: $(READY) ## mend what ruff can: lint, then format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## write docs/reference from the code, and build the site, in build/site; fails at a broken link
	@mkdir -p build
	$(BIN)/python -m docs.site

bench: models/demo ## measure quality and speed; DATA=folder of call logs, the bundled sample otherwise
	$(BIN)/python -m benchmarks.quality $(if $(DATA),--data $(DATA)) --out benchmarks/RESULTS$(if $(DATA),,-sample).md
	$(BIN)/python -m benchmarks.compared $(if $(DATA),--data $(DATA)) --out benchmarks/COMPARED$(if $(DATA),,-sample).md
	$(BIN)/python -m benchmarks.coverage $(if $(DATA),--data $(DATA)/mixed_traffic.parquet)
	$(if $(DATA),$(BIN)/python -m benchmarks.graded --data $(DATA))
	$(if $(DATA),$(BIN)/python -m benchmarks.cascade --data $(DATA))
	$(BIN)/python -m benchmarks.headlines
	$(BIN)/python -m benchmarks.promise $(if $(DATA),--data $(DATA)) --trainings 0
	$(if $(DATA),$(BIN)/python -m benchmarks.partial_log --data $(DATA))
	$(BIN)/python -m benchmarks.learners $(if $(DATA),--data $(DATA),--sizes 300)
	$(BIN)/python -m benchmarks.encoders $(if $(DATA),--data $(DATA))
	$(BIN)/python -m benchmarks.auc $(if $(DATA),--data $(DATA))
	$(BIN)/python -m benchmarks.comparing
	$(if $(DATA),$(BIN)/python -m benchmarks.tokens --data $(DATA))
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.bounded
	$(BIN)/python -m benchmarks.pacing
	$(BIN)/python -m benchmarks.metered
	$(BIN)/python -m benchmarks.efforts
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.dashboard
	$(BIN)/python -m benchmarks.training_limits
	$(BIN)/python -m benchmarks.proxy_load
	$(BIN)/python -m benchmarks.chaos

models/demo: | $(READY)
	$(BIN)/pointsman demo

screenshots: $(READY) ## take pictures of the dashboard and of the demo's report, light and dark, into docs/pictures
	$(BIN)/python -m benchmarks.screenshots

lock: ## write requirements-dev.txt anew from pyproject.toml, in an environment of its own
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet torch==2.13.0
	$(VENV)-lock/bin/pip install --quiet --editable '.[train,proxy,dashboard,otel,prometheus,postgres,s3,gcs,ray,dev]'
	head -1 requirements-dev.txt > requirements-dev.head && mv requirements-dev.head requirements-dev.txt
	$(VENV)-lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//' >> requirements-dev.txt
	rm -rf $(VENV)-lock

clean: ## remove what the commands above made
	rm -rf $(VENV) $(VENV)-* runs mlflow.db mlruns .pytest_cache .mypy_cache .ruff_cache .coverage

$(READY): requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(READY)
