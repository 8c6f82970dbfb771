# Every target sets up what it needs, from nothing: a virtual environment per Python under .venv/, the project in it
# (editable), and the pinned requirements of its group. A second run needs no network.
#
#   make demo         the line at work: 100,000 orders, with trouble planted; then priority buses on a local SQS server
#   make test         the tests (ARGS="tests/test_chunk.py --count 200" is passed on to pytest), on two local SQS servers
#   make fire         20,000 messages through everything that can go wrong with SQS; the verdict is of a log and journals
#   make conformance  the SQS tests, long ones too, on LocalStack (which needs Python 3.13), on fauxqs and in memory
#   make check        ruff, mypy --strict, pyright strict; and whether the site can be made
#   make docs         the site, in build/docs: guides, explanations, a reference; needs no network to be read
#   make bench        the benchmarks: a table of ratios; JSON and a plot under benchmarks/results/
#   make mutants      breaks one promise of the contract after another: each break must turn its test red
#   make lock         renews the pins in requirements/
#   make clean        removes everything that the targets above made, virtual environments included
#
# PYTHON=… chooses the interpreter; else it is the first of python3.13, 3.12, 3.11 and python3 that will do.
# PYTHON313=… says where the one for LocalStack is. JOBS=… says how many processes share the tests: 4, unless it is said;
# with JOBS=0 they are run one after the other in one.

PYTHON ?=
PYTHON313 ?=
ARGS ?=
JOBS ?= 4
export PYTHON PYTHON313

.PHONY: help demo test fire conformance check docs bench mutants lock clean

help:
	@sed -n '4,17{s/^# *//;p;}' Makefile

demo:
	@py=$$(tools/setup.sh) && "$$py" examples/demo.py $(ARGS)
	@py=$$(tools/setup.sh sqs) && tools/servers.sh ministack && { tools/servers.sh multi_sqs_listener || true; } && \
		echo && "$$py" examples/demo_sqs.py

test:
	@py=$$(tools/setup.sh test) && tools/servers.sh ministack fauxqs aio multi_sqs_listener sqs_workers && tools/browser.sh && \
		"$$py" -m pytest -n $(JOBS) $(ARGS)

fire:
	@py=$$(tools/setup.sh test) && tools/servers.sh ministack fauxqs aio && PYTHONPATH=tests "$$py" -m fire.run $(ARGS)

conformance:
	@py=$$(tools/setup.sh test) && tools/servers.sh ministack fauxqs localstack aio && failed= && \
	for server in localstack fauxqs memory; do \
		echo "== $$server"; \
		SQS_SERVER=$$server "$$py" -m pytest -n $(JOBS) tests/adapters/sqs $(ARGS) || failed="$$failed $$server"; \
	done && \
	if [ -n "$$failed" ]; then echo "Not as on the others:$$failed" >&2; exit 1; fi

check:
	@py=$$(tools/setup.sh check docs) && tools/check.sh "$$py"

docs:
	@py=$$(tools/setup.sh docs) && tools/docs.sh "$$py"

bench:
	@py=$$(tools/setup.sh bench) && tools/servers.sh ministack fauxqs && { tools/servers.sh multi_sqs_listener || true; } && \
		"$$py" benchmarks/run.py $(ARGS)

mutants:
	@py=$$(tools/setup.sh test) && tools/servers.sh ministack fauxqs aio && "$$py" tests/mutants/run.py $(ARGS)

lock:
	@tools/lock.sh

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
