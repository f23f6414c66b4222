# SPDX-License-Identifier: MIT
# The benchmark (docs/performance.md): ours beside QEMU in one sitting, in less than five minutes.
#
#   ALL=1   more depths, longer cells

# What the host's disk gives without a VM.
$(BUILD)/bare-disk: testcases/bare_disk.c host/host.mk
	@mkdir -p $(@D)
	$(CC) $(filter-out -Ihost -MMD -MP,$(HOST_CFLAGS)) -o $@ $< $(call static-if-there,uring)

.PHONY: bench
bench: all guests $(BUILD)/bare-disk $(BUILD)/unit/test_ring_cost
	@$(PYTHON) -m harness.bench --vmm $(VMM) $(if $(ALL),--all --ms 2000)
