# SPDX-License-Identifier: MIT
# The guest half: build/kernels/NAME.elf (PVH), NAME.mb.elf (Multiboot) and NAME.efi for each
# guest-kernels/kernels/NAME.c or folder kernels/NAME/.  Runtime and drivers are archives, so a kernel links
# what it uses.  A new kernel, driver or runtime file is found by its place.

G      := guest-kernels
GOUT   := $(BUILD)/guest
KOUT   := $(BUILD)/kernels
NASM   ?= nasm

# One compiler for kernels whatever CC says: exact figures depend on its code.
GUEST_CC := gcc
GUEST_CFLAGS := -std=c17 -O2 -g -ffreestanding -fno-builtin -mgeneral-regs-only -mno-red-zone \
	-mcmodel=small -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-toplevel-reorder \
	-fno-strict-aliasing --param=min-pagesize=0 -fvisibility=hidden -Wall -Wextra -Werror -Wstrict-prototypes \
	-Wmissing-prototypes -Wno-unused-parameter -I$(G) -I. -MMD -MP

KERNEL_NAMES := $(sort $(basename $(notdir $(wildcard $(G)/kernels/*.c))) \
	$(notdir $(patsubst %/,%,$(dir $(wildcard $(G)/kernels/*/*.c)))))
kernel-src = $(wildcard $(G)/kernels/$(1).c $(G)/kernels/$(1)/*.c)

RUNTIME_SRC := $(filter-out $(G)/runtime/%-efi.c,$(wildcard $(G)/runtime/*.c)) $(wildcard $(G)/runtime/*.asm)
DRIVER_SRC  := $(wildcard $(G)/drivers/*.c virtio-drivers/*.c virtio-drivers/*/*.c)
guest-obj = $(patsubst %,$(GOUT)/$(1)/%.o,$(basename $(2)))

.PHONY: kernels
kernels: $(foreach k,$(KERNEL_NAMES),$(KOUT)/$(k).elf $(KOUT)/$(k).mb.elf)

ELF_LIBS := $(GOUT)/elf/runtime.a $(GOUT)/elf/drivers.a

$(GOUT)/elf/runtime.a: $(call guest-obj,elf,$(RUNTIME_SRC))
$(GOUT)/elf/drivers.a: $(call guest-obj,elf,$(DRIVER_SRC))
$(GOUT)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	ar crs $@ $(filter %.o,$^)

$(GOUT)/elf/%.o: %.c
	@mkdir -p $(@D)
	$(GUEST_CC) $(GUEST_CFLAGS) -fno-pic -c -o $@ $<

$(GOUT)/elf/%.o: %.asm $(G)/boot/layout.inc
	@mkdir -p $(@D)
	$(NASM) -f elf64 -I $(G)/boot/ -o $@ $<

ELF_BOOT := $(GOUT)/elf/$(G)/boot/entry.o $(GOUT)/elf/$(G)/boot/vectors.o
ELF_LINK = ld -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments \
	-T $(G)/boot/kernel.ld

define kernel-rules
$(KOUT)/$(1).elf: $(ELF_BOOT) $(call guest-obj,elf,$(call kernel-src,$(1))) $(ELF_LIBS) $(G)/boot/kernel.ld
	@mkdir -p $$(@D)
	$(ELF_LINK) -o $$@ $$(filter %.o,$$^) --start-group $(ELF_LIBS) --end-group

$(KOUT)/$(1).mb.elf: $(GOUT)/elf/$(G)/boot/multiboot.o $(ELF_BOOT) $(call guest-obj,elf,$(call kernel-src,$(1))) $(ELF_LIBS) $(G)/boot/kernel.ld
	@mkdir -p $$(@D)
	$(ELF_LINK) -e mb_entry --strip-debug -o $$@.64 $$(filter %.o,$$^) --start-group $(ELF_LIBS) --end-group
	objcopy -I elf64-x86-64 -O elf32-i386 $$@.64 $$@
	@rm -f $$@.64
endef
$(foreach k,$(KERNEL_NAMES),$(eval $(call kernel-rules,$(k))))

-include $(shell find $(GOUT) -name '*.d' 2>/dev/null)
