/* SPDX-License-Identifier: MIT */
/*
 * MMX and SSE to SSE4.2, AES, PCLMULQDQ by the host's own instruction: guest and host are of one
 * family, and what these instructions compute is exactly specified.  What differs between makers
 * (RCPPS, RSQRTPS) is computed in sse.c; x87 is in x87.c.
 *
 * Stubs live in memory that is mapped twice, once to write and once to execute.  They stay until
 * the process ends: encodings without their registers are few enough (immediates included) that
 * all of them fit.  Main loop only.
 */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/soft/x87.h"

#define STUB_SIZE  64
#define STUB_SLOTS (1u << 16)
#define FULL	   (STUB_SLOTS - STUB_SLOTS / 8)

struct slot {
	uint64_t key; /* the encoding's bytes without registers; 0: free */
	struct native_stub stub;
};

static struct {
	uint8_t *write, *execute;
	struct slot *slots;
	unsigned used;
} cache;

static void *map_code(int fd, int rights)
{
	return mmap(NULL, (size_t)STUB_SLOTS * STUB_SIZE, rights, MAP_SHARED, fd, 0);
}

int soft_native_init(struct error *err)
{
	int fd;

	if (cache.slots)
		return 0;
	fd = memfd_create("assay-stubs", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)STUB_SLOTS * STUB_SIZE) < 0) {
		int saved = errno;

		if (fd >= 0)
			close(fd);
		return error_set_errno(err, saved, "no memory for the processor's stubs");
	}
	cache.write = map_code(fd, PROT_READ | PROT_WRITE);
	cache.execute = map_code(fd, PROT_READ | PROT_EXEC);
	close(fd);
	cache.slots = mmap(NULL, STUB_SLOTS * sizeof(struct slot), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (cache.write != MAP_FAILED && cache.execute != MAP_FAILED && cache.slots != MAP_FAILED)
		return 0;
	cache.slots = NULL;
	return error_set_errno(err, errno, "the host does not map executable memory");
}

/* --- which instructions --- */

static bool is_x87(const ZydisDecodedInstruction *z)
{
	return z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	       ((z->opcode & 0xf8) == 0xd8 || z->opcode == 0x9b);
}

static bool offered(const struct soft_cpu *c, const ZydisDecodedInstruction *z)
{
	if (is_x87(z))
		return z->mnemonic == ZYDIS_MNEMONIC_FISTTP ? soft_has(c, FEATURE_1_ECX, 0)
							    : soft_has(c, FEATURE_1_EDX, 0);
	if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return false;
	return soft_offers(c, z->meta.isa_set, false);
}

static uint8_t mandatory_prefix(const ZydisDecodedInstruction *z)
{
	for (unsigned n = 0; n < z->raw.prefix_count; n++)
		if (z->raw.prefixes[n].type == ZYDIS_PREFIX_TYPE_MANDATORY)
			return z->raw.prefixes[n].value;
	return 0;
}

static enum native_class class_of(const ZydisDecodedOperand *o)
{
	if (o->type == ZYDIS_OPERAND_TYPE_MEMORY)
		return N_MEM;
	switch (ZydisRegisterGetClass(o->reg.value)) {
	case ZYDIS_REGCLASS_XMM: return N_XMM;
	case ZYDIS_REGCLASS_MMX: return N_MMX;
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64: return N_GPR;
	default: return N_NONE;
	}
}

static bool is_unaligned_form(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI:
	case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPISTRM: return true;
	default: return false;
	}
}

/* Type 2 and 3 are the numeric classes of the SDM; those with an MMX operand have others. */
static bool is_numeric(const ZydisDecodedInstruction *z)
{
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_CVTPI2PS:
	case ZYDIS_MNEMONIC_CVTPI2PD:
	case ZYDIS_MNEMONIC_CVTPS2PI:
	case ZYDIS_MNEMONIC_CVTPD2PI:
	case ZYDIS_MNEMONIC_CVTTPS2PI:
	case ZYDIS_MNEMONIC_CVTTPD2PI: return true;
	default: break;
	}
	return z->meta.exception_class == ZYDIS_EXCEPTION_CLASS_SSE2 ||
	       z->meta.exception_class == ZYDIS_EXCEPTION_CLASS_SSE3;
}

/* Results that may be tiny: add, multiply, subtract, divide, horizontal and dot forms, and the
 * conversion that narrows. */
static void set_elements(struct native_stub *s, const ZydisDecodedInstruction *z, uint8_t prefix)
{
	bool two = prefix == 0x66 || prefix == 0xf2; /* of doubles */

	if (z->opcode_map == ZYDIS_OPCODE_MAP_0F3A && (z->opcode & 0xfe) == 0x40) {
		s->element = z->opcode == 0x41 ? 8 : 4;
		s->elements = 16 / s->element;
		return;
	}
	if (z->opcode_map != ZYDIS_OPCODE_MAP_0F)
		return;
	switch (z->opcode) {
	case 0x58:
	case 0x59:
	case 0x5c:
	case 0x5e:
		s->element = two ? 8 : 4;
		s->elements = prefix == 0xf2 || prefix == 0xf3 ? 1 : 16 / s->element;
		break;
	case 0x5a:
		s->element = 4;
		s->elements = prefix == 0x66 ? 2 : prefix == 0xf2 ? 1 : 0;
		break;
	case 0x7c:
	case 0x7d:
	case 0xd0:
		s->element = prefix == 0x66 ? 8 : 4;
		s->elements = 16 / s->element;
		break;
	default: break;
	}
}

static void set_hidden(struct native_stub *s, const ZydisDecodedInstruction *z)
{
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_PBLENDVB:
	case ZYDIS_MNEMONIC_BLENDVPS:
	case ZYDIS_MNEMONIC_BLENDVPD: s->xmm0_read = true; break;
	case ZYDIS_MNEMONIC_PCMPESTRI: s->lengths = s->index = true; break;
	case ZYDIS_MNEMONIC_PCMPISTRI: s->index = true; break;
	case ZYDIS_MNEMONIC_PCMPESTRM: s->lengths = s->xmm0_written = true; break;
	case ZYDIS_MNEMONIC_PCMPISTRM: s->xmm0_written = true; break;
	default: break;
	}
	s->flags = z->cpu_flags && z->cpu_flags->modified & ZYDIS_CPUFLAG_ZF;
}

static void describe(struct native_stub *s, const ZydisDecodedInstruction *z,
	const ZydisDecodedOperand *operands, uint8_t prefix)
{
	bool xmm = false;

	*s = (struct native_stub){.numeric = is_numeric(z)};
	for (unsigned n = 0; n < z->operand_count_visible; n++) {
		const ZydisDecodedOperand *o = &operands[n];
		bool written = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

		if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			continue;
		if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) {
			s->reg = class_of(o);
			s->reg_operand = n;
			s->reg_written = written;
		} else if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
			s->rm = class_of(o);
			s->rm_operand = n;
			s->rm_written = written;
			s->rm_read = o->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
			s->aligned =
				s->rm == N_MEM && o->size == 128 && !is_unaligned_form(z->mnemonic);
		}
	}
	xmm = s->reg == N_XMM || s->rm == N_XMM;
	s->mmx = s->reg == N_MMX || s->rm == N_MMX;
	s->no_sse = s->mmx && !xmm && !s->numeric;
	set_elements(s, z, prefix);
	set_hidden(s, z);
}

/* --- the code of a stub --- */

_Static_assert(offsetof(struct native_frame, flags) == 16 &&
		       offsetof(struct native_frame, rax) == 24 &&
		       offsetof(struct native_frame, rdx) == 32 &&
		       offsetof(struct native_frame, rcx) == 40 &&
		       offsetof(struct native_frame, xmm0) == 48,
	"the offsets in the code below");

struct code {
	uint8_t *at;
};

static void put(struct code *code, const char *bytes, unsigned length)
{
	memcpy(code->at, bytes, length);
	code->at += length;
}

#define PUT(code, bytes) put(code, bytes, sizeof(bytes) - 1)

/* RDI and RSI point to the operands, R8 to the frame; the operands are XMM1, MM1 or RAX, and XMM2,
 * MM2 or RCX. */
static void put_loads(struct code *code, const struct native_stub *s)
{
	PUT(code, "\x49\x89\xd0"); /* mov r8, rdx */
	if (s->numeric)
		PUT(code, "\x41\x0f\xae\x10"); /* ldmxcsr [r8] */
	if (s->reg == N_XMM)
		PUT(code, "\x0f\x10\x0f"); /* movups xmm1, [rdi] */
	else if (s->reg == N_MMX)
		PUT(code, "\x0f\x6f\x0f"); /* movq mm1, [rdi] */
	else if (s->reg == N_GPR)
		PUT(code, "\x48\x8b\x07"); /* mov rax, [rdi] */
	if (s->rm == N_XMM)
		PUT(code, "\x0f\x10\x16"); /* movups xmm2, [rsi] */
	else if (s->rm == N_MMX)
		PUT(code, "\x0f\x6f\x16"); /* movq mm2, [rsi] */
	else if (s->rm == N_GPR)
		PUT(code, "\x48\x8b\x0e"); /* mov rcx, [rsi] */
	if (s->xmm0_read)
		PUT(code, "\x41\x0f\x10\x40\x30"); /* movups xmm0, [r8 + 48] */
	if (s->lengths)
		PUT(code, "\x49\x8b\x40\x18\x49\x8b\x50\x20"); /* rax: [r8 + 24], rdx: [r8 + 32] */
}

static void put_stores(struct code *code, const struct native_stub *s)
{
	if (s->flags)
		PUT(code, "\x9c\x41\x8f\x40\x10"); /* pushfq; pop [r8 + 16] */
	if (s->numeric)
		PUT(code,
			"\x41\x0f\xae\x18\x41\x0f\xae\x50\x04"); /* stmxcsr [r8]; ldmxcsr [r8+4] */
	if (s->reg_written)
		put(code,
			s->reg == N_XMM	  ? "\x0f\x11\x0f"
			: s->reg == N_MMX ? "\x0f\x7f\x0f"
					  : "\x48\x89\x07",
			3);
	if (s->rm_written && s->rm != N_MEM)
		put(code,
			s->rm == N_XMM	 ? "\x0f\x11\x16"
			: s->rm == N_MMX ? "\x0f\x7f\x16"
					 : "\x48\x89\x0e",
			3);
	if (s->xmm0_written)
		PUT(code, "\x41\x0f\x11\x40\x30"); /* movups [r8 + 48], xmm0 */
	if (s->index)
		PUT(code, "\x49\x89\x48\x28"); /* mov [r8 + 40], rcx */
	if (s->mmx)
		PUT(code, "\x0f\x77"); /* emms: C code finds the x87 stack empty */
	PUT(code, "\xc3");
}

/* The instruction with its operands in the stub's registers: at most 7 bytes. */
static unsigned rewrite(
	uint8_t *to, const ZydisDecodedInstruction *z, const struct native_stub *s, uint8_t prefix)
{
	unsigned length = 0;
	uint8_t reg = s->reg == N_NONE ? z->raw.modrm.reg : s->reg == N_GPR ? 0 : 1;
	uint8_t rm = s->rm == N_MEM ? 6 : s->rm == N_GPR ? 1 : 2;

	if (prefix)
		to[length++] = prefix;
	/* The operand-size prefix of F2 and F3 forms means nothing; REX.W may. */
	if (z->raw.rex.W)
		to[length++] = 0x48;
	to[length++] = 0x0f;
	if (z->opcode_map == ZYDIS_OPCODE_MAP_0F38)
		to[length++] = 0x38;
	else if (z->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
		to[length++] = 0x3a;
	to[length++] = z->opcode;
	to[length++] = (s->rm == N_MEM ? 0 : 0xc0) | reg << 3 | rm;
	if (z->raw.imm[0].size)
		to[length++] = z->raw.imm[0].value.u;
	return length;
}

static struct slot *find(uint64_t key)
{
	uint64_t at = key * 0x9e3779b97f4a7c15ULL >> 48;

	for (;; at++) {
		struct slot *slot = &cache.slots[at & (STUB_SLOTS - 1)];

		if (slot->key == key || !slot->key)
			return slot;
	}
}

static const struct native_stub *stub_of(
	const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands)
{
	uint8_t prefix = mandatory_prefix(z), bytes[8] = {0};
	struct native_stub stub;
	struct code code;
	struct slot *slot;
	uint64_t key;
	unsigned length;
	size_t at;

	describe(&stub, z, operands, prefix);
	length = rewrite(bytes, z, &stub, prefix);
	bytes[7] = length; /* so that no key is 0, and none another's beginning */
	memcpy(&key, bytes, sizeof(key));
	slot = find(key);
	if (slot->key)
		return &slot->stub;
	if (cache.used >= FULL)
		return NULL; /* more encodings than there are */
	cache.used++;
	at = (size_t)(slot - cache.slots) * STUB_SIZE;
	code.at = cache.write + at;
	put_loads(&code, &stub);
	put(&code, (const char *)bytes, length);
	put_stores(&code, &stub);
	memcpy(&stub.code, &(void *){cache.execute + at}, sizeof(stub.code));
	slot->key = key;
	slot->stub = stub;
	return &slot->stub;
}

/* RDI, RSI: the operands; RDX: struct x87_frame.  Clearing the flags does not wait, so an exception
 * that the guest has not masked never traps here. */
x87_code *x87_stub(uint8_t opcode, uint8_t modrm, unsigned how)
{
	uint8_t bytes[8] = {opcode, modrm, how, [7] = 'x'}; /* 'x': no length of rewrite() */
	struct slot *slot;
	struct code code;
	x87_code *run;
	uint64_t key;
	size_t at;

	memcpy(&key, bytes, sizeof(key));
	slot = find(key);
	at = (size_t)(slot - cache.slots) * STUB_SIZE;
	memcpy(&run, &(void *){cache.execute + at}, sizeof(run));
	if (slot->key)
		return run;
	if (cache.used >= FULL)
		return NULL;
	cache.used++;
	slot->key = key;
	code.at = cache.write + at;
	if (how & X87_IN1)
		PUT(&code, "\xdb\x2e"); /* fld tbyte [rsi] */
	if (how & X87_IN0)
		PUT(&code, "\xdb\x2f");			/* fld tbyte [rdi] */
	PUT(&code, "\xdb\xe2\xd9\x2a");			/* fnclex; fldcw [rdx] */
	put(&code, (const char *)bytes, 2);		/* the operation */
	PUT(&code, "\xdd\x7a\x04\xdb\xe2\xd9\x6a\x02"); /* fnstsw [rdx+4]; fnclex; fldcw [rdx+2] */
	if (how & X87_OUT)
		PUT(&code, "\xdb\x3f"); /* fstp tbyte [rdi] */
	if (how & X87_OUT2)
		PUT(&code, "\xdb\x3e"); /* fstp tbyte [rsi] */
	if (how & X87_RESET)
		PUT(&code, "\xdb\xe3"); /* fninit */
	else if (how & X87_IN1 || (how & X87_IN0 && !(how & X87_OUT)))
		PUT(&code, "\xdd\xd8"); /* fstp st0 */
	if ((how & (X87_IN0 | X87_IN1 | X87_OUT)) == (X87_IN0 | X87_IN1))
		PUT(&code, "\xdd\xd8");
	PUT(&code, "\xc3");
	return run;
}

static soft_handler *special(uint16_t mnemonic, const struct soft_insn *i)
{
	soft_handler *run = sse_special(mnemonic, i);

	return run ? run : fxsave_special(mnemonic, i);
}

void soft_native_decode(const struct soft_cpu *c, struct soft_insn *i,
	const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands)
{
	const struct native_stub *stub;

	if (!offered(c, z))
		return;
	if (is_x87(z)) {
		i->immediate = z->raw.modrm.mod << 6 | z->raw.modrm.reg << 3 | z->raw.modrm.rm;
		x87_decode(i);
		return;
	}
	i->run = special(z->mnemonic, i);
	if (i->run || !(z->attributes & ZYDIS_ATTRIB_HAS_MODRM))
		return;
	stub = stub_of(z, operands);
	if (!stub)
		return;
	i->native = (void *)stub;
	i->run = sse_runner(stub, i);
}
