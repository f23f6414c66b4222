# SPDX-License-Identifier: MIT
# What a user calls: deps, check, soak, bench, lint, help.

.PHONY: help
help:
	@echo "make            build the VMM and the kernels"
