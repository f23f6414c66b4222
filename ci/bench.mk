# SPDX-License-Identifier: MIT
# The benchmark (docs/performance.md): ours beside QEMU in one sitting, in less than five minutes.
#
#   ALL=1   more depths, longer cells

.PHONY: bench
bench: all guests
	@$(PYTHON) -m harness.bench --vmm $(VMM) $(if $(ALL),--all --ms 2000)
