# Everything below makes its own virtual environment; only Python 3.11+ and make are assumed.
PYTHON ?= python3
VENV   ?= .venv
# percent of the lines that the tests have to run
COVERAGE ?= 95
OLDEST ?= .venv-oldest
CONFORM ?= .venv-conform
NNCF ?= .venv-nncf
NETWORKS ?= 2000
# the oldest versions have wheels for 3.11 and 3.12 alone
OLDEST_PYTHON ?= $(shell for p in $(PYTHON) python3.12 python3.11; do $$p -c 'import sys; sys.exit(sys.version_info[:2] > (3, 12))' 2>/dev/null && echo $$p && exit; done; echo $(PYTHON))
RUN    := $(VENV)/bin

DOCS ?= .venv-docs
DIST ?= .venv-dist
# where this repository can be read; without it that of the clone, where it is a web address
REPOSITORY ?=

.PHONY: demo test fuzz test-oldest check bench bench-peer bench-openvino bench-cpu accuracy types verdict attack conform conform-cpu golden schema docs dist clean

demo: $(VENV)/.use ; mkdir -p demo-output && $(RUN)/qdq quantize sample_models/digits_resnet.onnx --calib sample_models/images/digits --preprocess unit -o demo-output/digits_resnet.qdq.onnx
test: $(VENV)/.test ; $(RUN)/python -m pytest -n 2 --coverage $(COVERAGE)
# the laws on a thousand examples each, other ones every time; a new finding becomes an @example of its test
fuzz: $(VENV)/.test ; $(RUN)/python -m pytest -n 2 -m hypothesis --hypothesis-profile fuzz $(FUZZING)
# the same tests with the lowest version of every dependency that pyproject.toml allows
test-oldest: $(OLDEST)/.test ; $(OLDEST)/bin/python -m pytest -n 2
check: $(VENV)/.check ; $(RUN)/ruff check . && $(RUN)/ruff format --check . && $(RUN)/mypy
golden: $(VENV)/.test ; $(RUN)/python -m pytest --update-golden
schema: $(VENV)/.test ; $(RUN)/python -m pytest --update-golden tests/test_schema.py
bench: $(VENV)/.test ; $(RUN)/python -m bench
bench-peer: $(VENV)/.test ; $(RUN)/python -m bench peer
accuracy: $(VENV)/.test ; $(RUN)/python -m bench.accuracy $(MODELS)
types: $(VENV)/.test ; $(RUN)/python -m bench.by_type $(MODELS)
verdict: $(VENV)/.test ; $(RUN)/python -m bench.verdict $(MODELS)
# --target openvino beside NNCF, in an environment of its own; MODELS is a folder of more models
bench-openvino: $(NNCF)/.use ; $(NNCF)/bin/python -m bench.openvino $(MODELS)
# every tool that quantizes for CPUs, in ONNX Runtime and OpenVINO, network by network; TIMING=--time only times the files
bench-cpu: $(NNCF)/.use ; $(NNCF)/bin/python -m bench.cpu_table $(MODELS) $(TIMING)
# qdq inspect against NVIDIA's compiler, in an environment of its own: NETWORKS random networks and the sample models
conform: $(CONFORM)/.use ; $(CONFORM)/bin/python -m bench.conform --networks $(NETWORKS) $(CONFORMING)
# qdq inspect --target onnxruntime against ONNX Runtime's optimizer
conform-cpu: $(VENV)/.test ; $(RUN)/python -m bench.conform_cpu $(NETWORKS)
attack: $(VENV)/.test ; $(RUN)/python -m bench attack --runs 10000
# the documentation as a site in build/site/html; a link that leads nowhere fails
docs: $(DOCS)/.use ; $(DOCS)/bin/python -m bench.site build/site --repository "$(REPOSITORY)" && cd build/site && NO_MKDOCS_2_WARNING=1 $(CURDIR)/$(DOCS)/bin/mkdocs build --strict
# sdist and wheel in dist/, checked, and tried in a fresh environment
dist: $(DIST)/.use ; $(DIST)/bin/python -m bench.dist --repository "$(REPOSITORY)"
clean: ; rm -rf $(VENV) $(OLDEST) $(CONFORM) $(NNCF) $(DOCS) $(DIST) demo-output build dist *.egg-info

$(VENV)/bin/python: ; $(PYTHON) -m venv $(VENV)
$(VENV)/.use: $(VENV)/bin/python pyproject.toml ; $(RUN)/python -m pip install -q -e . && touch $@
$(VENV)/.test: $(VENV)/bin/python pyproject.toml ; $(RUN)/python -m pip install -q -e '.[fast,test]' && touch $@
$(VENV)/.check: $(VENV)/bin/python pyproject.toml ; $(RUN)/python -m pip install -q -e '.[fast,test,check]' && touch $@
$(CONFORM)/.use: pyproject.toml ; $(PYTHON) -m venv $(CONFORM) && $(CONFORM)/bin/python -m pip install -q -e '.[fast,compiler,test]' && touch $@
$(NNCF)/.use: pyproject.toml ; $(PYTHON) -m venv $(NNCF) && $(NNCF)/bin/python -m pip install -q -e '.[fast,openvino]' 'nncf>=3.2' && touch $@
$(DOCS)/.use: pyproject.toml ; $(PYTHON) -m venv $(DOCS) && $(DOCS)/bin/python -m pip install -q -e '.[docs]' && touch $@
$(DIST)/.use: pyproject.toml ; $(PYTHON) -m venv $(DIST) && $(DIST)/bin/python -m pip install -q -e '.[dist]' && touch $@
$(OLDEST)/.test: pyproject.toml .ci/oldest.py
	$(OLDEST_PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST_PYTHON) .ci/oldest.py > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install -q -e '.[fast,test]' -c $(OLDEST)/oldest.txt && touch $@
