# SPDX-License-Identifier: MIT
# The gate (README.md): the kernels' verdicts, and what operations cost against ci/baselines.
#
#   GATE_TESTS=FILES   other test modules than those of all kernels; empty: counts only

GATE_TESTS ?= $(shell grep -l '^KERNEL' testcases/test_*.py)
GATE_ACCEL  = $(if $(OWN),soft,$(ACCEL))
GATE = $(PYTHON) -m harness.gate --vmm $(VMM) --accel $(GATE_ACCEL)

.PHONY: gate baselines
gate: all
	@mkdir -p $(BUILD)/report
	@status=0; \
	$(if $(strip $(GATE_TESTS)),$(PYTEST) --accel=$(GATE_ACCEL) $(GATE_TESTS) || status=$$?;) \
	$(GATE) || status=$$?; exit $$status

baselines: all
	@$(GATE) --write
