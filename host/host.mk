# SPDX-License-Identifier: MIT
# The host half: build/assay and the unit tests of testcases/unit.
# Objects depend on this file, which holds their flags.

, := ,

VARIANT   := $(if $(SAN),san,$(if $(FAULTS),faults,))
HOST_OUT  := $(BUILD)$(if $(VARIANT),/$(VARIANT))
HOST_OBJ  := $(HOST_OUT)/obj

HOST_CFLAGS := -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes \
	-Wshadow -Wno-unused-parameter -Wno-missing-field-initializers -O2 -g -pthread -fno-strict-aliasing -Ihost -MMD -MP \
	$(if $(SAN),-fsanitize=address$(,)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer \
		-Wno-format-truncation -Wno-maybe-uninitialized) \
	$(if $(FAULTS),-DASSAY_FAULTS=1) \
	$(if $(findstring clang,$(CC)),-Wno-gnu-variable-sized-type-not-at-end)
HOST_LDFLAGS := -pthread $(if $(SAN),-fsanitize=address$(,)undefined)
# libZydis is loaded when a software processor is made (cpu/soft/zydis.c).
# Static where the archive is there: three libraries less to load is a third of a VM's start.
static-if-there = $(if $(filter /%,$(shell $(CC) -print-file-name=lib$(1).a)),-l:lib$(1).a,-l$(1))
HOST_LIBS := $(foreach lib,jansson uring aio xxhash mpfr gmp,$(call static-if-there,$(lib)))

HOST_SRC  := $(shell find host -name '*.c' | sort)
HOST_MAIN := host/main.c
HOST_LIB_OBJ := $(patsubst %.c,$(HOST_OBJ)/%.o,$(filter-out $(HOST_MAIN),$(HOST_SRC)))
UNIT_SRC  := $(shell find testcases/unit -name 'test_*.c' | sort)
UNIT_BIN  := $(patsubst testcases/unit/%.c,$(HOST_OUT)/unit/%,$(UNIT_SRC))

.PHONY: host unit-tests
host: $(if $(wildcard $(HOST_MAIN)),$(HOST_OUT)/assay)
unit-tests: $(UNIT_BIN)

$(HOST_OUT)/assay: $(HOST_OBJ)/host/main.o $(HOST_OBJ)/libassay.a
	$(CC) $(HOST_LDFLAGS) -o $@ $^ $(HOST_LIBS)

# An archive, so that a unit test links only the rooms it uses.
$(HOST_OBJ)/libassay.a: $(HOST_LIB_OBJ)
	@rm -f $@
	ar crs $@ $^

$(HOST_OBJ)/%.o: %.c host/host.mk
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -c -o $@ $<

$(HOST_OUT)/unit/%: testcases/unit/%.c $(HOST_OBJ)/libassay.a host/host.mk
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -MF $@.d $(HOST_LDFLAGS) -o $@ $< $(HOST_OBJ)/libassay.a $(HOST_LIBS) -lZydis -lcmocka

-include $(shell find $(HOST_OBJ) $(HOST_OUT)/unit -name '*.d' 2>/dev/null)
