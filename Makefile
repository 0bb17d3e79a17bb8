# Thin names for the real commands, and the virtual environment they run in.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
TOOLS := $(VENV)/tools-installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
CODE := scripts tests benchmarks
SNAKEFILES := Snakefile workflow rules

.DEFAULT_GOAL := help
.PHONY: help tools run init published watch predict export verify findings record imbalance bench bench-scale dry-run test test-quick test-slurm test-kills lint format lock docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(INSTALLED): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.11 run"; exit 1; }
	@$(PYTHON) -c 'import os, re, sys; sys.exit(bool(re.search(r"[^\w@%+=:,./-]", os.path.abspath(sys.argv[1]))))' "$(VENV)" \
	  || { echo "Snakemake cannot call a Python with blanks, quotes or the like in its path, here $$(pwd)/$(VENV)."; \
	       echo "All else works in this folder; keep the environment elsewhere: make VENV=$$HOME/recipe-study-venv run"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	@touch $@

$(TOOLS): $(INSTALLED) requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	@touch $@

tools: $(TOOLS) ## the environment with what checks and tests need

run: $(INSTALLED) ## the default study, end to end
	. $(BIN)/activate && snakemake --cores all --resources gpu=1
	@echo "The report is results/digits/report.html; open it in a browser."

init: $(INSTALLED) ## look at SOURCE=folder, zip, table … and write config/NAME.yaml for it (CONFIG="data={…}" for what is known)
	@test -n "$(SOURCE)" || { echo "Which images? make init SOURCE=folder [NAME=mine] [CONFIG=\"data={class_level: 1}\"]"; exit 1; }
	$(BIN)/python scripts/study init "$(SOURCE)" $(if $(NAME),--study "$(NAME)") $(if $(CONFIG),--config "$(CONFIG)")

published: $(INSTALLED) ## the published recipes of config/published.tsv, with their epochs cut short
	. $(BIN)/activate && snakemake --cores all --resources gpu=1 --configfile config/published.yaml
	@echo "The report is results/published/report.html; open it in a browser."

STUDY ?= digits
RUN ?= best

watch: $(INSTALLED) ## every run of STUDY in the terminal, while it goes
	$(BIN)/python scripts/study watch --study $(STUDY)

predict: $(INSTALLED) ## label IMAGES=folder with RUN of STUDY, into OUT (predictions.csv)
	@test -n "$(IMAGES)" || { echo "Which images? make predict IMAGES=folder [RUN=best] [STUDY=digits] [OUT=predictions.csv]"; exit 1; }
	$(BIN)/python scripts/study predict "$(IMAGES)" --run "$(RUN)" --study "$(STUDY)" --out "$(or $(OUT),predictions.csv)"

export: $(INSTALLED) ## write RUN of STUDY as one file, OUT=name.onnx or name.pt2 (torch.export)
	$(BIN)/python scripts/study export --run "$(RUN)" --study "$(STUDY)" $(if $(OUT),--out "$(OUT)")

verify: $(INSTALLED) ## check a finished STUDY: hashes, tables, predictions (or CONFIG="config/a.yaml config/b.yaml")
	$(BIN)/python scripts/study verify $(if $(CONFIG),--configfile $(CONFIG),--study $(STUDY))

dry-run: $(INSTALLED) ## plan every configuration, run nothing, need no data
	. $(BIN)/activate && for study in config original fer2013 record published imbalance; do \
	  snakemake -n --quiet --cores 1 --resources gpu=1 --configfile config/$$study.yaml || exit 1; done

# At full width, with a GPU: make findings LAYER= SUFFIX=
LAYER ?= config/quarter_width.yaml
SUFFIX ?= _quarter
EVERY_TABLE := experiments=[config/experiments.tsv,config/ablations.tsv,config/lr_batch.tsv]
# A study, the runs that docs/runs keeps of it first: they have to be younger than its images.
SNAKEMAKE := snakemake --cores all --resources gpu=1
STUDY_WITH = for last in pack class_weights; do \
	    $(SNAKEMAKE) --configfile $(2) --config study=$(1) $(3) --until $$last || exit 1; done && \
	  python scripts/study keep --restore $(1) && \
	  $(SNAKEMAKE) --configfile $(2) --config study=$(1) $(3) && \
	  python scripts/study keep $(1)

findings: $(INSTALLED) ## train on the real FER2013 and write docs/FINDINGS.md (many hours on two cores, resumed when called again)
	. $(BIN)/activate && \
	  $(call STUDY_WITH,fer2013$(SUFFIX),config/fer2013.yaml $(LAYER),"$(EVERY_TABLE)") && \
	  $(call STUDY_WITH,original$(SUFFIX),config/original.yaml $(LAYER)) && \
	  $(call STUDY_WITH,fer2013$(SUFFIX)_seeds,config/fer2013.yaml $(LAYER),$(CLAIMS)) && \
	  python scripts/study findings --suffix=$(SUFFIX)

CLAIMS := experiments=config/claims.tsv "seeds=[1,2]"  # seed 0 is in the study of all recipes
FER_PACKAGE := $(if $(wildcard resources/fer_package.parquet),$(shell echo ,config/fer_package.tsv))
RECORD_TABLES := experiments=[config/record.tsv$(FER_PACKAGE)]

record: $(INSTALLED) ## train the record's recipes on FER2013 and write docs/RECORD.md (many hours on two cores, resumed when called again)
	. $(BIN)/activate && \
	  $(call STUDY_WITH,record_search,config/record.yaml,experiments=config/record_search.tsv "seeds=[0]") && \
	  $(call STUDY_WITH,record,config/record.yaml,"$(RECORD_TABLES)") && \
	  $(call STUDY_WITH,record_ablation,config/record.yaml,experiments=config/record_ablation.tsv "seeds=[0,1,2]") && \
	  python scripts/study record

imbalance: $(INSTALLED) ## train the treatments of imbalance and write docs/IMBALANCE.md (20 minutes on two cores)
	. $(BIN)/activate && \
	  snakemake --cores all --resources gpu=1 --configfile config/imbalance.yaml && \
	  python scripts/study imbalance

BENCH ?= --name cpu
PACKED := $(wildcard results/fer2013/data/pack.json)
FER2013 := resources/fer2013.zip

bench: $(INSTALLED) ## time training beside other loops, and the rest, into benchmarks/RESULTS.md (a quiet machine)
	$(PIP) -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.speed $(if $(PACKED),--data results/fer2013/data) $(BENCH)
	$(BIN)/python -m benchmarks.load $(if $(PACKED),--data results/fer2013/data) --name load
	$(BIN)/python -m benchmarks.pipeline $(if $(wildcard $(FER2013)),--source $(FER2013)) --name pipeline
	$(BIN)/python -m benchmarks.record

bench-scale: $(TOOLS) ## made-up studies of 1,000 classes, 500 recipes and many images, into RESULTS.md and docs/SCALE.md
	$(BIN)/python -m benchmarks.scale classes --name scale-classes
	$(BIN)/python -m benchmarks.scale recipes --name scale-recipes
	$(BIN)/python -m benchmarks.scale_images --name scale-images
	$(BIN)/python -m benchmarks.scale_reading --name scale-reading
	$(BIN)/python -m benchmarks.near_copies --sizes 10000 20000 40000 $(if $(wildcard $(FER2013)),--source $(FER2013)) --name near-copies
	$(BIN)/python -m benchmarks.scale_images --page
	$(BIN)/python -m benchmarks.record

lint: $(TOOLS) ## formatters, linters, types
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy scripts/study
	PYTHONPATH=scripts $(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/snakefmt --check $(SNAKEFILES)
	. $(BIN)/activate && snakemake --lint

# A file's tests stay in one process and share what they set up. One process more than cores, so that none of these is ever
# idle. Idle threads must not spin: they would hold up the trainings of the other processes. What is compiled is kept, whatever
# the environment says: hundreds of processes load it, most of them from copies of the pipeline.
COMPILED = export PYTHONDONTWRITEBYTECODE= && python -m compileall -q scripts
PYTEST = OMP_WAIT_POLICY=passive python -m pytest --dist loadfile --no-loadscope-reorder \
  --numprocesses $$(( $$(nproc) < 4 ? $$(nproc) + 1 : 4 ))

test: lint ## all checks and tests
	. $(BIN)/activate && $(COMPILED) && $(PYTEST)

test-quick: $(TOOLS) dry-run ## dry runs, unit tests and one small study: what CI does with every supported Python
	. $(BIN)/activate && $(COMPILED) && $(PYTEST) tests/workflow/test_study.py tests/unit

test-slurm: $(TOOLS) ## the SLURM profile on a cluster started here (needs slurm-wlm, munge, slurmdbd, mariadb-server-core and -client-core)
	. $(BIN)/activate && $(COMPILED) && python -m pytest tests/cluster

KILLS ?= 200

test-kills: $(TOOLS) ## KILLS kills at random instants, recorded in docs/KILLS.md (half an hour)
	$(BIN)/python tests/workflow/interruption.py $(KILLS) docs/KILLS.md

format: $(TOOLS) ## bring code and rules into their form
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)
	$(BIN)/snakefmt $(SNAKEFILES)

COMPILE := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header

lock: ## solve requirements.in and requirements-dev.in into .txt with hashes, versions of both alike (needs uv)
	$(COMPILE) requirements.in --output-file requirements.txt
	$(COMPILE) requirements-dev.in --constraints requirements.txt --output-file requirements-dev.txt

docs: $(INSTALLED) ## write the generated parts of config/README.md
	$(BIN)/python scripts/study reference

clean: ## remove the environment AND ALL RESULTS (results/*/)
	rm -rf $(VENV) .snakemake results/*/
