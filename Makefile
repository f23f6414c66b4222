# SPDX-License-Identifier: MIT
#
# Assay: the bench on which hypervisor I/O is proven.  `make help` lists the targets.
#
# Everything that is built lands in build/.  Each room brings its own rules: a new source file, a
# new unit test or a new kernel is found by its place and needs no edit here.
#
#   SAN=1      host code with ASan and UBSan           (build/san/)
#   FAULTS=1   host code with fault injection          (build/faults/)
#   CC=clang   another compiler

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:

CC     := $(if $(filter default,$(origin CC)),gcc,$(CC))
PYTHON ?= /usr/bin/python3
BUILD  := build

.PHONY: all
all: host kernels

include host/host.mk
include guest-kernels/kernels.mk
include testcases/fuzz/fuzz.mk
include ci/targets.mk
include ci/bench.mk
include ci/gate.mk

.PHONY: clean
clean:
	rm -rf $(BUILD)
