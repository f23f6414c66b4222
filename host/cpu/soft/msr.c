/* SPDX-License-Identifier: MIT */
/* Model-specific registers, the time stamp counter and CPUID (SDM 4; SDM 2A, CPUID). */
#include <string.h>

#include "cpu/soft/soft.h"

#define TSC_HZ 1000000000LL /* one documented rate on every host: VM time in ns */

uint64_t soft_tsc(const struct soft_cpu *c)
{
	return vm_clock_now(&c->engine->engine.machine->clock) + c->tsc_offset;
}

/* MSRs that are nothing but a place to keep a number. */
static uint64_t *plain_msr(struct soft_cpu *c, uint32_t msr)
{
	switch (msr) {
	case 0x174: return &c->sysenter_cs;
	case 0x175: return &c->sysenter_esp;
	case 0x176: return &c->sysenter_eip;
	case 0x1a0: return &c->misc_enable;
	case 0x2ff: return &c->mtrr_def_type;
	case 0x250: return &c->mtrr_fixed[0];
	case 0x258: return &c->mtrr_fixed[1];
	case 0x259: return &c->mtrr_fixed[2];
	case 0xc0000081: return &c->star;
	case 0xc0000082: return &c->lstar;
	case 0xc0000083: return &c->cstar;
	case 0xc0000084: return &c->fmask;
	case 0xc0000100: return &c->seg[SEG_FS].base;
	case 0xc0000101: return &c->seg[SEG_GS].base;
	case 0xc0000102: return &c->kernel_gs_base;
	case 0xc0000103: return &c->tsc_aux;
	}
	if (msr >= 0x268 && msr <= 0x26f)
		return &c->mtrr_fixed[3 + msr - 0x268];
	if (msr >= 0x200 && msr <= 0x20f)
		return &c->mtrr_var[msr - 0x200];
	return NULL;
}

static bool is_address(uint32_t msr)
{
	return msr == 0x175 || msr == 0x176 || msr == 0xc0000082 || msr == 0xc0000083 ||
	       (msr >= 0xc0000100 && msr <= 0xc0000102);
}

bool soft_rdmsr(struct soft_cpu *c, uint32_t msr, uint64_t *value)
{
	uint64_t *plain = plain_msr(c, msr);

	if (plain) {
		*value = *plain;
		return true;
	}
	switch (msr) {
	case 0x10: *value = soft_tsc(c); return true;
	case 0x1b: *value = c->apic_base; return true;
	case 0xfe: *value = 0x508; return true; /* MTRRcap: eight variable, fixed, WC */
	case 0x277: *value = c->pat; return true;
	case 0x6e0: *value = c->tsc_deadline; return true;
	case 0x8b:
	case 0x17:
	case 0x179: /* no machine-check banks */
	case 0x17a:
	case 0xc0010010: /* AMD's SYSCFG: no fixed-range extensions, no encryption */
	case 0xc0010015: *value = 0; return true; /* HWCR */
	case 0x3a: *value = 1; return true;	  /* feature control: locked */
	case 0xc0000080: *value = c->efer; return true;
	}
	if (msr >= 0x800 && msr <= 0x8ff)
		return soft_lapic_msr(c, msr, value, false);
	return false;
}

static bool set_efer(struct soft_cpu *c, uint64_t value)
{
	uint64_t known = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;

	if (value & ~known || ((value ^ c->efer) & EFER_LME && c->cr0 & CR0_PG))
		return false;
	c->efer = (value & ~(uint64_t)EFER_LMA) | (c->efer & EFER_LMA);
	soft_tlb_flush(c, true);
	return true;
}

static bool set_pat(struct soft_cpu *c, uint64_t value)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned type = value >> (i * 8) & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	c->pat = value;
	return true;
}

bool soft_wrmsr(struct soft_cpu *c, uint32_t msr, uint64_t value)
{
	uint64_t *plain = plain_msr(c, msr);

	if (plain) {
		if (is_address(msr) && (int64_t)(value << 16) >> 16 != (int64_t)value)
			return false;
		*plain = msr == 0xc0000084 || msr == 0xc0000103 ? (uint32_t)value : value;
		return true;
	}
	switch (msr) {
	case 0x10: c->tsc_offset += value - soft_tsc(c); return true;
	case 0x1b: soft_lapic_set_base(c, value); return true;
	case 0x277: return set_pat(c, value);
	case 0x6e0: soft_lapic_set_deadline(c, value); return true;
	case 0x8b:
	case 0x79:
	case 0x17a: return true;
	case 0xc0000080: return set_efer(c, value);
	}
	if (msr >= 0x800 && msr <= 0x8ff)
		return soft_lapic_msr(c, msr, &value, true);
	return false;
}

static void text(uint32_t *out, const char *from, unsigned length)
{
	memcpy(out, from, length);
}

static void leaf_1(const struct soft_cpu *c, uint32_t out[4])
{
	out[0] = 0x00060fb1; /* family 15, model 107: QEMU's qemu64 */
	out[1] = 8u << 8;    /* lines of 64 bytes */
	out[2] = c->cpuid_features[FEATURE_1_ECX] & ~(1u << 27);
	out[3] = c->cpuid_features[FEATURE_1_EDX];
	if (!(c->apic_base & 1u << 11))
		out[3] &= ~(1u << 9); /* the APIC is disabled */
	if (c->cr4 & CR4_OSXSAVE)
		out[2] |= 1u << 27;
}

void soft_cpuid(const struct soft_cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	static const char brand[48] = "Assay software processor";

	memset(out, 0, 16);
	/* Above the highest basic leaf: the data of that leaf (CPUID, "INPUT EAX"). */
	if (leaf < 0x40000000 && leaf > 0xd)
		leaf = 0xd;
	switch (leaf) {
	case 0:
		out[0] = 0xd;
		text(&out[1], "Auth", 4);
		text(&out[3], "enti", 4);
		text(&out[2], "cAMD", 4);
		break;
	case 1: leaf_1(c, out); break;
	case 7:
		if (subleaf == 0) {
			out[1] = c->cpuid_features[FEATURE_7_EBX];
			out[2] = c->cpuid_features[FEATURE_7_ECX];
			out[3] = c->cpuid_features[FEATURE_7_EDX];
		}
		break;
	case 0xd:
		if (!soft_has(c, FEATURE_1_ECX, 26))
			break;
		if (subleaf == 0) {
			out[0] = 3; /* x87 and SSE */
			out[1] = out[2] = 576;
		} else if (subleaf == 1) {
			out[0] = c->cpuid_features[FEATURE_D_1_EAX];
		}
		break;
	case 0x40000000:
		out[0] = 0x40000000;
		text(&out[1], "AssaySoft\0\0", 12);
		break;
	case 0x80000000:
		out[0] = 0x80000008;
		text(&out[1], "Auth", 4);
		text(&out[3], "enti", 4);
		text(&out[2], "cAMD", 4);
		break;
	case 0x80000001:
		out[0] = 0x00060fb1;
		out[2] = c->cpuid_features[FEATURE_80000001_ECX];
		/* AMD repeats some of leaf 1 there. */
		out[3] = c->cpuid_features[FEATURE_80000001_EDX] |
			 (c->cpuid_features[FEATURE_1_EDX] & 0x0183f3ff);
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004: memcpy(out, brand + (leaf - 0x80000002) * 16, 16); break;
	case 0x80000007: out[3] = 1u << 8; break; /* the TSC is invariant */
	case 0x80000008: out[0] = 40 | 48 << 8; break;
	default: break;
	}
	topology_cpuid(&c->engine->engine.smp, c->index, leaf, subleaf, true, out);
}
