# SPDX-License-Identifier: MIT
# What a user calls: deps, check, check-faults, guests, soak, fuzz, lint, format, install, help.
#
#   VMM=PROGRAM ACCEL=LIST   the VMM under test, another than ours
#   ONLY=WORDS               pytest's -k: only the items whose names match
#   PYTEST_ARGS=...          anything else for pytest

VMM    ?= $(HOST_OUT)/assay
# Ours is checked with both of its engines; without /dev/kvm the software processor is left.
ACCEL  ?= $(if $(filter $(HOST_OUT)/assay,$(VMM)),kvm$(,)soft,kvm)
ONLY   ?=
PREFIX ?= /usr/local
PEER   ?= $(if $(filter $(HOST_OUT)/assay,$(VMM)),qemu-system-x86_64:tcg)
OWN    := $(filter $(HOST_OUT)/assay,$(VMM))

export PYTHONDONTWRITEBYTECODE := 1
PYTEST = $(PYTHON) -m pytest -p no:cacheprovider -q -rfEX --tb=short --vmm=$(VMM) --accel=$(ACCEL) \
	--unit=$(HOST_OUT)/unit --junitxml=$(BUILD)/report/junit.xml $(if $(ONLY),-k "$(ONLY)") \
	$(PYTEST_ARGS)

# By default the tests of our own VMM; the peer runs the same kernels beside it, which proves them.
CHECKED = $(if $(OWN),testcases,$(wildcard testcases/test_*.py))
CHECK_BUILDS = all guests $(if $(OWN),unit-tests faults-build fuzz-targets $(BUILD)/bare-disk)

JOBS   ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: deps
deps:
	@ci/deps.sh $(filter bench,$(MAKECMDGOALS))

# `make -j deps check` too installs first.
ifneq ($(filter deps,$(MAKECMDGOALS)),)
$(filter-out deps,$(MAKECMDGOALS)): | deps
endif

.PHONY: check
check:
	@$(MAKE) --no-print-directory -j$(JOBS) $(CHECK_BUILDS)
	@mkdir -p $(BUILD)/report
	$(PYTEST) --peer=$(PEER) $(if $(ONLY),,--require-engine) $(CHECKED)

# Debian's kernel and busybox, test data: fetched once, never installed.
.PHONY: guests
guests:
	@ci/guests.sh $(BUILD)/guests

.PHONY: soak
soak:
	@$(MAKE) --no-print-directory -j$(JOBS) $(CHECK_BUILDS)
	@mkdir -p $(BUILD)/report
	$(PYTEST) --peer=$(PEER) --require-engine --whole $(CHECKED)
	$(if $(OWN),INSN_CASES=$(INSN_CASES) $(HOST_OUT)/unit/test_soft_insn)

# The VMM with fault injection, for the tests of the tests.
.PHONY: faults-build check-faults
faults-build:
	+@$(MAKE) --no-print-directory SAN= FAULTS=1 host

check-faults:
	@$(MAKE) --no-print-directory -j$(JOBS) all faults-build
	@mkdir -p $(BUILD)/report
	$(PYTEST) --whole testcases/test_faults.py

# Garbage for rings, transports and devices (testcases/fuzz, libFuzzer), SECONDS for each target; and for
# the software processor.  All with the sanitizers.  FUZZ_SEED=N begins elsewhere.
TARGET ?=
FUZZ_SECONDS = $(if $(filter environment command% override,$(origin SECONDS)),$(SECONDS),60)
FUZZ_INSTRUCTIONS ?= 10000000
INSN_CASES ?= 100000000
.PHONY: fuzz fuzz-soft fuzz-corpus fuzz-cover
# The first goal of `make fuzz` without TARGET: rings, transports and devices, then the processor.
fuzz: $(if $(TARGET),,fuzz-soft)
	@$(MAKE) --no-print-directory -j$(JOBS) fuzz-targets
	@ci/fuzz.sh run $(FUZZ_SECONDS) $(or $(TARGET),$(FUZZ_TARGETS))

# What a long run found worth keeping goes into the tree, minimised.
fuzz-corpus:
	@$(MAKE) --no-print-directory -j$(JOBS) fuzz-targets
	@ci/fuzz.sh keep $(or $(TARGET),$(FUZZ_TARGETS))

# Which lines of host/virtio the corpus reaches, and which functions none of it does.
fuzz-cover:
	@$(MAKE) --no-print-directory -j$(JOBS) COVER=1 fuzz-targets
	@ci/fuzz.sh cover $(or $(TARGET),$(FUZZ_TARGETS))

fuzz-soft:
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=1 host unit-tests
	@$(MAKE) --no-print-directory -j$(JOBS) kernels
	FUZZ_INSTRUCTIONS=$(FUZZ_INSTRUCTIONS) $(BUILD)/san/unit/test_soft_fuzz
	$(PYTHON) -m pytest -p no:cacheprovider -q --tb=short --vmm=$(BUILD)/san/assay --accel=soft \
		--unit=$(BUILD)/san/unit $(PYTEST_ARGS) testcases/test_soft_endings.py

.PHONY: lint format
lint:
	@JOBS=$(JOBS) ci/lint.sh

format:
	@ci/lint.sh format

.PHONY: install
install: host
	install -D -m 755 $(HOST_OUT)/assay $(DESTDIR)$(PREFIX)/bin/assay

.PHONY: help
help:
	@echo "make               build the VMM (build/assay) and the kernels (build/kernels)"
	@echo "make deps          install what is missing of ci/packages.txt (as root), say what"
	@echo "make check         run every test: 15 minutes at most on two cores"
	@echo "make soak          the same with nothing sampled, and 100 million single instructions"
	@echo "make fuzz          garbage for rings, transports, devices and -accel soft, with the sanitizers"
	@echo "                   (TARGET=blk: one target of testcases/fuzz; SECONDS=60: for each)"
	@echo "make fuzz-corpus   keep in the tree, minimised, what a long run of make fuzz found"
	@echo "make guests        fetch Debian's kernel and busybox for the tests of Linux (check does)"
	@echo "make bench         virtio-blk against ATA on ours and QEMU, and start-up (ALL=1: more)"
	@echo "make gate          kernels under soft, and exact costs against ci/baselines (CI; VMM=: ratios)"
	@echo "make baselines     write ci/baselines anew"
	@echo "make check-faults  each TEST must fail with the fault that it is there to notice"
	@echo "make lint          layout, lengths, static analysis, and the order of the rooms"
	@echo "make format        lay the C code out by .clang-format"
	@echo "make install       put assay into PREFIX (default /usr/local), with DESTDIR"
	@echo "make clean         remove build/"
	@echo
	@echo "  VMM=qemu-system-x86_64 ACCEL=tcg   check another VMM with the same kernels"
	@echo "  ONLY='words'                       only the tests whose names match, as pytest -k"
	@echo "  SAN=1                              host code with ASan and UBSan"
	@echo "  FAULTS=1                           host code with fault injection (docs/faults.md)"
	@echo "  PYTEST_ARGS='...'                  anything else for pytest"
	@echo "  JOBS=N                             processes of the build and of lint (default: all cores)"
	@echo "  CC=clang                           another compiler (make clean first)"
