/* SPDX-License-Identifier: MIT */
/*
 * FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XRSTOR, XGETBV, XSETBV and the images they move (SDM 1, 10.5
 * and chapter 13).  XSAVE has two components here, x87 and SSE, in the standard format.
 *
 * FCS and FDS are always 0 (CPUID.7.0:EBX bit 13).  In use, for XSTATE_BV, is what differs from the
 * initial state.
 */
#include <Zydis/Mnemonic.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "cpu/soft/native.h"

/* places in the image */
#define AT_FIP	   8
#define AT_FDP	   16
#define AT_MXCSR   24
#define AT_ST	   32
#define AT_XMM	   160
#define LEGACY_END 416
#define AT_HEADER  512
#define XSAVE_SIZE 576

#define XCR0_X87   1u
#define XCR0_SSE   2u
#define XCR0_KNOWN (XCR0_X87 | XCR0_SSE)

static unsigned top(const struct soft_fpu *fpu)
{
	return fpu->sw >> 11 & 7;
}

void soft_fpu_reset(struct soft_cpu *c)
{
	c->fpu = (struct soft_fpu){.cw = 0x40, .mxcsr = MXCSR_RESET, .valid = 0xff};
}

/* The x87 part but for MXCSR: bytes 0 to 23 and 32 to 159. */
static void x87_image(const struct soft_fpu *fpu, uint8_t *image, bool wide)
{
	put_le16(image, fpu->cw);
	put_le16(image + 2, fpu->sw);
	image[4] = fpu->valid;
	image[5] = 0;
	put_le16(image + 6, fpu->fop);
	memcpy(image + AT_FIP, &fpu->fip, 8);
	memcpy(image + AT_FDP, &fpu->fdp, 8);
	if (!wide)
		memset(image + AT_FIP + 4, 0, 4);
	if (!wide)
		memset(image + AT_FDP + 4, 0, 4);
	for (unsigned n = 0; n < 8; n++)
		memcpy(image + AT_ST + 16 * n, fpu->st[(top(fpu) + n) & 7], 16);
}

static void x87_take(struct soft_fpu *fpu, const uint8_t *image, bool wide)
{
	fpu->cw = (get_le16(image) & 0x1f7f) | 0x40;
	fpu->sw = get_le16(image + 2);
	/* ES and B say whether an unmasked exception is pending, whatever was stored. */
	fpu->sw = (fpu->sw & 0x7f7f) | (fpu->sw & ~fpu->cw & 0x3f ? 0x8080 : 0);
	fpu->valid = image[4];
	fpu->fop = get_le16(image + 6) & 0x7ff;
	fpu->fip = wide ? get_le64(image + AT_FIP) : get_le32(image + AT_FIP);
	fpu->fdp = wide ? get_le64(image + AT_FDP) : get_le32(image + AT_FDP);
	for (unsigned n = 0; n < 8; n++) {
		uint8_t *st = fpu->st[(top(fpu) + n) & 7];

		memcpy(st, image + AT_ST + 16 * n, 10);
		memset(st + 10, 0, 6);
	}
}

void soft_fpu_save(const struct soft_cpu *c, uint8_t image[FXSAVE_SIZE])
{
	memset(image, 0, FXSAVE_SIZE);
	x87_image(&c->fpu, image, true);
	put_le32(image + AT_MXCSR, c->fpu.mxcsr);
	put_le32(image + AT_MXCSR + 4, MXCSR_MASK);
	memcpy(image + AT_XMM, c->fpu.xmm, sizeof(c->fpu.xmm));
}

int soft_fpu_load(struct soft_cpu *c, const uint8_t image[FXSAVE_SIZE])
{
	if (get_le32(image + AT_MXCSR) & ~MXCSR_MASK)
		return -EINVAL;
	x87_take(&c->fpu, image, true);
	c->fpu.mxcsr = get_le32(image + AT_MXCSR);
	memcpy(c->fpu.xmm, image + AT_XMM, sizeof(c->fpu.xmm));
	return 0;
}

static unsigned xmm_bytes(const struct soft_cpu *c)
{
	return c->long_mode ? 256 : 128;
}

/* --- FXSAVE, FXRSTOR --- */

static uint64_t image_address(
	struct soft_cpu *c, const struct soft_insn *i, unsigned size, unsigned align, bool write)
{
	uint64_t linear = soft_address(c, i, size, write);

	if (linear & (align - 1))
		soft_fault(c, V_GP, 0);
	return linear;
}

static void op_fxsave(struct soft_cpu *c, const struct soft_insn *i)
{
	bool wide = i->mnemonic == ZYDIS_MNEMONIC_FXSAVE64;
	uint8_t image[FXSAVE_SIZE];
	uint64_t linear;

	if (c->cr0 & (CR0_EM | CR0_TS))
		soft_fault(c, V_NM, NO_ERROR_CODE);
	linear = image_address(c, i, FXSAVE_SIZE, 16, true);
	soft_fpu_save(c, image);
	x87_image(&c->fpu, image, wide);
	/* Bytes 416 on are the program's; so are XMM8 to 15 outside of 64-bit mode. */
	soft_check_write(c, linear, FXSAVE_SIZE);
	soft_write_bytes(c, linear, image, AT_XMM + xmm_bytes(c));
}

static void op_fxrstor(struct soft_cpu *c, const struct soft_insn *i)
{
	bool wide = i->mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
	uint8_t image[FXSAVE_SIZE];

	if (c->cr0 & (CR0_EM | CR0_TS))
		soft_fault(c, V_NM, NO_ERROR_CODE);
	soft_read_bytes(c, image_address(c, i, FXSAVE_SIZE, 16, false), image, FXSAVE_SIZE);
	if (get_le32(image + AT_MXCSR) & ~MXCSR_MASK)
		soft_fault(c, V_GP, 0);
	x87_take(&c->fpu, image, wide);
	c->fpu.mxcsr = get_le32(image + AT_MXCSR);
	memcpy(c->fpu.xmm, image + AT_XMM, xmm_bytes(c));
}

/* --- XSAVE and its kin --- */

static uint64_t in_use(const struct soft_cpu *c)
{
	static const struct soft_fpu initial = {.cw = 0x37f};
	const struct soft_fpu *fpu = &c->fpu;
	uint64_t use = 0;

	if (fpu->cw != initial.cw || fpu->sw || fpu->valid || fpu->fop || fpu->fip || fpu->fdp ||
		memcmp(fpu->st, initial.st, sizeof(fpu->st)))
		use |= XCR0_X87;
	if (memcmp(fpu->xmm, initial.xmm, xmm_bytes(c)))
		use |= XCR0_SSE;
	return use;
}

static uint64_t requested(struct soft_cpu *c)
{
	return ((uint32_t)c->gpr[RAX] | c->gpr[RDX] << 32) & c->xcr0;
}

static void xsave_check(struct soft_cpu *c)
{
	if (!(c->cr4 & CR4_OSXSAVE))
		soft_fault(c, V_UD, NO_ERROR_CODE);
	if (c->cr0 & CR0_TS)
		soft_fault(c, V_NM, NO_ERROR_CODE);
}

static void op_xsave(struct soft_cpu *c, const struct soft_insn *i)
{
	bool wide =
		i->mnemonic == ZYDIS_MNEMONIC_XSAVE64 || i->mnemonic == ZYDIS_MNEMONIC_XSAVEOPT64;
	bool optimised =
		i->mnemonic == ZYDIS_MNEMONIC_XSAVEOPT || i->mnemonic == ZYDIS_MNEMONIC_XSAVEOPT64;
	uint64_t components = requested(c), use = in_use(c), linear, header, saved = components;
	uint8_t image[FXSAVE_SIZE];

	xsave_check(c);
	linear = image_address(c, i, XSAVE_SIZE, 64, true);
	soft_check_write(c, linear, XSAVE_SIZE);
	header = soft_load(c, linear + AT_HEADER, 8);
	if (optimised)
		saved &= use; /* what is as at the beginning is not written */
	soft_fpu_save(c, image);
	x87_image(&c->fpu, image, wide);
	if (saved & XCR0_X87) {
		soft_write_bytes(c, linear, image, AT_MXCSR);
		soft_write_bytes(c, linear + AT_ST, image + AT_ST, AT_XMM - AT_ST);
	}
	if (components & XCR0_SSE)
		soft_write_bytes(c, linear + AT_MXCSR, image + AT_MXCSR, 8);
	if (saved & XCR0_SSE)
		soft_write_bytes(c, linear + AT_XMM, image + AT_XMM, xmm_bytes(c));
	soft_store(c, linear + AT_HEADER, (header & ~components) | (use & components), 8);
}

static void op_xrstor(struct soft_cpu *c, const struct soft_insn *i)
{
	static const uint8_t initial[AT_XMM] = {0x7f, 0x03};
	bool wide = i->mnemonic == ZYDIS_MNEMONIC_XRSTOR64;
	uint64_t components = requested(c), stored;
	uint8_t image[XSAVE_SIZE];

	xsave_check(c);
	soft_read_bytes(c, image_address(c, i, XSAVE_SIZE, 64, false), image, XSAVE_SIZE);
	stored = get_le64(image + AT_HEADER);
	/* Only the standard format, so XCOMP_BV is 0, and the eight bytes behind it. */
	if (stored & ~c->xcr0 || get_le64(image + AT_HEADER + 8) ||
		get_le64(image + AT_HEADER + 16))
		soft_fault(c, V_GP, 0);
	if (components & XCR0_SSE && get_le32(image + AT_MXCSR) & ~MXCSR_MASK)
		soft_fault(c, V_GP, 0);
	if (components & XCR0_X87)
		x87_take(&c->fpu, stored & XCR0_X87 ? image : initial, wide);
	if (!(components & XCR0_SSE))
		return;
	c->fpu.mxcsr = get_le32(image + AT_MXCSR);
	if (stored & XCR0_SSE)
		memcpy(c->fpu.xmm, image + AT_XMM, xmm_bytes(c));
	else
		memset(c->fpu.xmm, 0, xmm_bytes(c));
}

static void op_xgetbv(struct soft_cpu *c, const struct soft_insn *i)
{
	if (!(c->cr4 & CR4_OSXSAVE))
		soft_fault(c, V_UD, NO_ERROR_CODE);
	if ((uint32_t)c->gpr[RCX])
		soft_fault(c, V_GP, 0);
	c->gpr[RAX] = (uint32_t)c->xcr0;
	c->gpr[RDX] = c->xcr0 >> 32;
}

static void op_xsetbv(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t value = (uint32_t)c->gpr[RAX] | c->gpr[RDX] << 32;

	if (!(c->cr4 & CR4_OSXSAVE))
		soft_fault(c, V_UD, NO_ERROR_CODE);
	if (c->cpl || (uint32_t)c->gpr[RCX] || !(value & XCR0_X87) || value & ~(uint64_t)XCR0_KNOWN)
		soft_fault(c, V_GP, 0);
	c->xcr0 = value;
}

soft_handler *fxsave_special(uint16_t mnemonic, const struct soft_insn *i)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64: return op_fxsave;
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64: return op_fxrstor;
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64: return op_xsave;
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64: return op_xrstor;
	case ZYDIS_MNEMONIC_XGETBV: return op_xgetbv;
	case ZYDIS_MNEMONIC_XSETBV: return op_xsetbv;
	default: return NULL;
	}
}
