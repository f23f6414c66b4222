# SPDX-License-Identifier: MIT
# libFuzzer targets: testcases/fuzz/NAME.c becomes build/fuzz/NAME, with ASan, UBSan, fault seams and
# the record of double reads.  `make fuzz` and testcases/test_fuzz.py run them.

FUZZ_CC    := clang
# COVER=1: without sanitizers, to see which lines the corpus reaches (make fuzz-cover).
FUZZ_OUT   := $(BUILD)/fuzz$(if $(COVER),-cover)
FUZZ_SAN   := $(if $(COVER),-fprofile-instr-generate -fcoverage-mapping,\
	-fsanitize=address,undefined -fno-sanitize-recover=undefined)
FUZZ_FLAGS := -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-parameter -Wno-unused-function \
	-Wno-gnu-variable-sized-type-not-at-end -Wno-missing-field-initializers -O1 -g -pthread \
	-fno-strict-aliasing -fno-omit-frame-pointer -Ihost -MMD -MP -DASSAY_FAULTS=1
# What a device on a bus needs: no engine, no board, no monitor.
FUZZ_ROOMS   := base block bus chardev machine virtio
FUZZ_LIB_SRC := $(shell find $(FUZZ_ROOMS:%=host/%) -name '*.c' | sort) \
	host/migration/fields.c host/migration/stream.c host/monitor/json-stream.c
FUZZ_LIB_OBJ := $(patsubst %.c,$(FUZZ_OUT)/obj/%.o,$(FUZZ_LIB_SRC))
FUZZ_TARGETS := $(patsubst testcases/fuzz/%.c,%,$(sort $(wildcard testcases/fuzz/*.c)))

.PHONY: fuzz-targets
fuzz-targets: $(FUZZ_TARGETS:%=$(FUZZ_OUT)/%)

$(FUZZ_OUT)/obj/%.o: %.c testcases/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) $(FUZZ_SAN) -fsanitize=fuzzer-no-link -c -o $@ $<

$(FUZZ_OUT)/libassay.a: $(FUZZ_LIB_OBJ)
	@rm -f $@
	ar crs $@ $^

$(FUZZ_OUT)/%: testcases/fuzz/%.c $(FUZZ_OUT)/libassay.a testcases/fuzz/fuzz.mk
	$(FUZZ_CC) $(FUZZ_FLAGS) $(FUZZ_SAN) -fsanitize=fuzzer -o $@ $< $(FUZZ_OUT)/libassay.a $(HOST_LIBS)

-include $(shell find $(FUZZ_OUT) -name '*.d' 2>/dev/null)
