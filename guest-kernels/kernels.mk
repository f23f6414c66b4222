# SPDX-License-Identifier: MIT
# The guest half: build/kernels/NAME.elf (PVH), NAME.mb.elf (Multiboot) and NAME.efi for each
# guest-kernels/kernels/NAME.c or folder kernels/NAME/.  Runtime and drivers are archives, so a kernel links
# what it uses.  A new kernel, driver or runtime file is found by its place.
# Objects depend on this file, which holds their flags.

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
kernel-src = $(wildcard $(G)/kernels/$(1).c $(G)/kernels/$(1)/*.c $(G)/kernels/$(1)/*.asm)

RUNTIME_SRC := $(wildcard $(G)/runtime/*.c $(G)/runtime/*.asm) $(G)/boot/ap.asm
DRIVER_SRC  := $(wildcard $(G)/drivers/*.c virtio-drivers/*.c virtio-drivers/*/*.c)
guest-obj = $(patsubst %,$(GOUT)/$(1)/%.o,$(basename $(2)))

# A kernel with code for outside of long mode has it in kernels/NAME/32/ (stage32/stage32.h).
STAGED_KERNELS := $(foreach k,$(KERNEL_NAMES),$(if $(wildcard $(G)/kernels/$(k)/32/*.c),$(k)))
stage-obj = $(if $(filter $(2),$(STAGED_KERNELS)),$(GOUT)/$(1)/$(G)/kernels/$(2)/stage32.o)

.PHONY: kernels
kernels: $(foreach k,$(KERNEL_NAMES),$(KOUT)/$(k).elf $(KOUT)/$(k).mb.elf)

# NAME.efi needs gnu-efi's headers and start code; without them there are only the ELF forms.
EFI_CRT := $(firstword $(wildcard /usr/lib/crt0-efi-x86_64.o /usr/lib/gnuefi/crt0-efi-x86_64.o /usr/lib64/gnuefi/crt0-efi-x86_64.o))
EFI_LIB := $(dir $(EFI_CRT))
ifneq ($(EFI_CRT),)
kernels: $(foreach k,$(KERNEL_NAMES),$(KOUT)/$(k).efi)
endif

ELF_LIBS := $(GOUT)/elf/runtime.a $(GOUT)/elf/drivers.a

$(GOUT)/elf/runtime.a: $(call guest-obj,elf,$(RUNTIME_SRC))
$(GOUT)/elf/drivers.a: $(call guest-obj,elf,$(DRIVER_SRC))
$(GOUT)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	ar crs $@ $(filter %.o,$^)

$(GOUT)/elf/%.o: %.c $(G)/kernels.mk
	@mkdir -p $(@D)
	$(GUEST_CC) $(GUEST_CFLAGS) -fno-pic -c -o $@ $<

$(GOUT)/elf/%.o: %.asm $(G)/boot/layout.inc $(G)/boot/callee.inc $(G)/kernels.mk
	@mkdir -p $(@D)
	$(NASM) -f elf64 -I $(G)/boot/ -o $@ $<

ELF_BOOT := $(GOUT)/elf/$(G)/boot/entry.o $(GOUT)/elf/$(G)/boot/vectors.o
ELF_LINK = ld -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments \
	-T $(G)/boot/kernel.ld

# The same sources as position-independent code.
EFI_CFLAGS := $(filter-out -g,$(GUEST_CFLAGS)) -fpic -fshort-wchar -include $(G)/boot/hidden.h \
	-DGNU_EFI_USE_MS_ABI -isystem /usr/include/efi -isystem /usr/include/efi/x86_64
$(GOUT)/efi/%.o: %.c $(G)/kernels.mk
	@mkdir -p $(@D)
	$(GUEST_CC) $(EFI_CFLAGS) -c -o $@ $<

$(GOUT)/efi/%.o: %.asm $(G)/boot/layout.inc $(G)/boot/callee.inc $(G)/kernels.mk
	@mkdir -p $(@D)
	$(NASM) -f elf64 -DEFI -I $(G)/boot/ -o $@ $<

$(GOUT)/efi/runtime.a: $(call guest-obj,efi,$(RUNTIME_SRC))
$(GOUT)/efi/drivers.a: $(call guest-obj,efi,$(DRIVER_SRC))
EFI_BOOT := $(GOUT)/efi/$(G)/boot/efi.o $(GOUT)/efi/$(G)/boot/vectors.o
EFI_LIBS := $(GOUT)/efi/runtime.a $(GOUT)/efi/drivers.a
EFI_SECTIONS := $(addprefix -j ,.text .data .dynamic .dynsym .rela .reloc)

STAGE_CFLAGS := -m32 -march=i686 $(filter-out -O2 -mcmodel=small -mno-red-zone,$(GUEST_CFLAGS)) -Os -fno-pic
$(GOUT)/32/%.o: %.c $(G)/kernels.mk
	@mkdir -p $(@D)
	$(GUEST_CC) $(STAGE_CFLAGS) -c -o $@ $<

$(GOUT)/32/%.o: %.asm $(G)/stage32/layout.inc $(G)/boot/callee.inc $(G)/kernels.mk
	@mkdir -p $(@D)
	$(NASM) -f elf32 -I $(G)/stage32/ -I $(G)/boot/ -o $@ $<

STAGE_SRC := $(wildcard $(G)/stage32/stage32.c $(G)/stage32/start.asm)
define stage-rules
$(GOUT)/32/$(1).bin: $(call guest-obj,32,$(STAGE_SRC) $(wildcard $(G)/kernels/$(1)/32/*.c $(G)/kernels/$(1)/32/*.asm)) $(G)/stage32/stage32.ld
	ld -m elf_i386 -nostdlib -static -z noexecstack --no-warn-rwx-segments -T $(G)/stage32/stage32.ld -o $$@.elf $$(filter %.o,$$^)
	objcopy -O binary $$@.elf $$@
$(GOUT)/elf/$(G)/kernels/$(1)/stage32.o $(GOUT)/efi/$(G)/kernels/$(1)/stage32.o: $(GOUT)/32/$(1).bin $(G)/stage32/image.asm $(G)/kernels.mk
	@mkdir -p $$(@D)
	$(NASM) -f elf64 -DIMAGE='"$(GOUT)/32/$(1).bin"' -o $$@ $(G)/stage32/image.asm
endef
$(foreach k,$(STAGED_KERNELS),$(eval $(call stage-rules,$(k))))

define kernel-rules
$(KOUT)/$(1).elf: $(ELF_BOOT) $(call guest-obj,elf,$(call kernel-src,$(1))) $(call stage-obj,elf,$(1)) $(ELF_LIBS) $(G)/boot/kernel.ld
	@mkdir -p $$(@D)
	$(ELF_LINK) -o $$@ $$(filter %.o,$$^) --start-group $(ELF_LIBS) --end-group

$(KOUT)/$(1).mb.elf: $(GOUT)/elf/$(G)/boot/multiboot.o $(ELF_BOOT) $(call guest-obj,elf,$(call kernel-src,$(1))) $(call stage-obj,elf,$(1)) $(ELF_LIBS) $(G)/boot/kernel.ld
	@mkdir -p $$(@D)
	$(ELF_LINK) -e mb_entry --strip-debug -o $$@.64 $$(filter %.o,$$^) --start-group $(ELF_LIBS) --end-group
	objcopy -I elf64-x86-64 -O elf32-i386 $$@.64 $$@
	@rm -f $$@.64

$(KOUT)/$(1).efi: $(EFI_BOOT) $(call guest-obj,efi,$(call kernel-src,$(1))) $(call stage-obj,efi,$(1)) $(EFI_LIBS) $(G)/boot/efi.ld
	@mkdir -p $$(@D)
	ld -nostdlib -shared -Bsymbolic -z nocombreloc -z noexecstack --no-warn-rwx-segments --no-undefined \
		-T $(G)/boot/efi.ld -o $$@.so $(EFI_CRT) $$(filter %.o,$$^) --start-group $(EFI_LIBS) --end-group \
		-L$(EFI_LIB) -lgnuefi
	objcopy $(EFI_SECTIONS) --target=efi-app-x86_64 --subsystem=10 $$@.so $$@
	@rm -f $$@.so
endef
$(foreach k,$(KERNEL_NAMES),$(eval $(call kernel-rules,$(k))))

-include $(shell find $(GOUT) -name '*.d' 2>/dev/null)
