/* SPDX-License-Identifier: MIT */
/*
 * Instructions by Zydis, kept as blocks: straight runs up to a branch, the end of the page or
 * BLOCK_MAX.  A block is found by the host address of its first byte and the mode it was decoded
 * in.  Instructions that cross a page are decoded each time (a block of one, not kept).
 *
 * A page with decoded code has its bit in `code_pages`; a write to it throws away the
 * blocks that it touches.  When the arena is full everything is thrown away.
 */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "base/log.h"
#include "cpu/soft/soft.h"

#define BLOCK_MAX   48
#define BLOCK_SLOTS (1u << 14)
#define PAGE_SLOTS  1024
#define ARENA_INSNS (1u << 18)
#define CODE_PAGES  (1ULL << 24) /* 64 GiB of guest-physical addresses */
#define INSN_BYTES  15
#define HOT	    16 /* executions after which a block is translated */

struct decoder {
	ZydisDecoder by_mode[3]; /* 16, 32, 64 */
	const struct soft_handlers *by_mnemonic[ZYDIS_MNEMONIC_MAX_VALUE + 1];
	struct soft_block *by_page[PAGE_SLOTS]; /* lists, by the host address of the page */
	bool pushed_out[PAGE_SLOTS];		/* had host code that may still be jumped to */
	struct soft_insn single;		/* one that is not kept */
	struct soft_block single_block;		/* its host is NULL */
};

static uint32_t mode_of(const struct soft_cpu *c)
{
	return c->long_mode ? 2 : c->seg[SEG_CS].rights & R_D ? 1 : 0;
}

const struct soft_handlers *const soft_handler_tables[] = {soft_alu_handlers, soft_move_handlers,
	soft_string_handlers, soft_branch_handlers, soft_system_handlers, soft_port_handlers,
	soft_control_handlers, soft_descriptor_handlers, soft_syscall_handlers, soft_bit_handlers,
	NULL};

static void register_table(struct decoder *d, const struct soft_handlers *table)
{
	for (; table->mnemonic; table++)
		d->by_mnemonic[table->mnemonic] = table;
}

int soft_decode_init(struct soft_engine *engine, struct error *err)
{
	static const ZydisMachineMode modes[] = {ZYDIS_MACHINE_MODE_LEGACY_16,
		ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
	static const ZydisStackWidth stacks[] = {
		ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64};
	struct decoder *d = calloc(1, sizeof(*d));

	engine->zydis = d;
#if !defined(ASSAY_FAULTS) /* faults change instructions behind their bytes */
	engine->translates = true;
#endif
	engine->hot = HOT;
	engine->blocks = mmap(NULL, BLOCK_SLOTS * sizeof(*engine->blocks), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	engine->arena_size = ARENA_INSNS;
	engine->arena = mmap(NULL, ARENA_INSNS * sizeof(struct soft_insn), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	engine->code_pages = mmap(NULL, CODE_PAGES / 8, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!d || engine->blocks == MAP_FAILED || engine->arena == MAP_FAILED ||
		engine->code_pages == MAP_FAILED)
		return error_set(err, ENOMEM, "out of memory");
	if (soft_zydis_load(err) < 0)
		return -ENOENT;
	for (unsigned i = 0; i < 3; i++)
		ZydisDecoderInit(&d->by_mode[i], modes[i], stacks[i]);
	for (unsigned n = 0; soft_handler_tables[n]; n++)
		register_table(d, soft_handler_tables[n]);
	return soft_native_init(err);
}

void soft_decode_features(struct soft_engine *engine)
{
	struct decoder *d = engine->zydis;
	const struct soft_cpu *c = &engine->cpus[0];

	for (unsigned i = 0; i < 3; i++) {
		ZydisDecoderEnableMode(
			&d->by_mode[i], ZYDIS_DECODER_MODE_TZCNT, soft_has(c, FEATURE_7_EBX, 3));
		ZydisDecoderEnableMode(&d->by_mode[i], ZYDIS_DECODER_MODE_LZCNT,
			soft_has(c, FEATURE_80000001_ECX, 5));
	}
}

void soft_decode_destroy(struct soft_engine *engine)
{
	soft_translate_destroy(engine);
	free(engine->zydis);
	if (engine->blocks && engine->blocks != MAP_FAILED)
		munmap(engine->blocks, BLOCK_SLOTS * sizeof(*engine->blocks));
	if (engine->arena && engine->arena != MAP_FAILED)
		munmap(engine->arena, ARENA_INSNS * sizeof(struct soft_insn));
	if (engine->code_pages && engine->code_pages != MAP_FAILED)
		munmap(engine->code_pages, CODE_PAGES / 8);
}

static void do_nothing(struct soft_cpu *c, const struct soft_insn *i)
{
}

void soft_undefined(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_fault(c, V_UD, NO_ERROR_CODE);
}

static void too_long(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_fault(c, V_GP, 0);
}

static const uint8_t segment_numbers[] = {SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS};

static uint8_t segment_of(ZydisRegister reg)
{
	return reg == ZYDIS_REGISTER_NONE ? SEG_DS : segment_numbers[reg - ZYDIS_REGISTER_ES];
}

static void set_register(struct soft_operand *o, ZydisRegister reg)
{
	ZyanI8 id = ZydisRegisterGetId(reg);

	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
		if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
			o->kind = O_HIGH;
			o->reg = reg - ZYDIS_REGISTER_AH;
		} else {
			o->kind = O_REG;
			/* Zydis numbers AL..BL, AH..BH, SPL..DIL, R8B.. in a row. */
			o->reg = reg <= ZYDIS_REGISTER_BL    ? reg - ZYDIS_REGISTER_AL
				 : reg <= ZYDIS_REGISTER_DIL ? reg - ZYDIS_REGISTER_SPL + 4
							     : reg - ZYDIS_REGISTER_R8B + 8;
		}
		return;
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64: o->kind = O_REG; break;
	case ZYDIS_REGCLASS_SEGMENT: o->kind = O_SEG; break;
	case ZYDIS_REGCLASS_CONTROL: o->kind = O_CR; break;
	case ZYDIS_REGCLASS_DEBUG: o->kind = O_DR; break;
	case ZYDIS_REGCLASS_XMM: o->kind = O_XMM; break;
	case ZYDIS_REGCLASS_MMX: o->kind = O_MMX; break;
	case ZYDIS_REGCLASS_X87: o->kind = O_ST; break;
	default: o->kind = O_OTHER; break;
	}
	o->reg = id;
	if (o->kind == O_SEG)
		o->reg = segment_of(reg);
}

static void set_memory(struct soft_insn *i, const ZydisDecodedOperandMem *mem)
{
	i->segment = segment_of(mem->segment);
	i->base = mem->base == ZYDIS_REGISTER_NONE ? NO_REG
		  : mem->base == ZYDIS_REGISTER_RIP || mem->base == ZYDIS_REGISTER_EIP
			  ? RIP_REG
			  : ZydisRegisterGetId(mem->base);
	i->index = mem->index == ZYDIS_REGISTER_NONE ? NO_REG : ZydisRegisterGetId(mem->index);
	i->scale = mem->scale == 8 ? 3 : mem->scale == 4 ? 2 : mem->scale == 2 ? 1 : 0;
	i->displacement = mem->disp.has_displacement ? mem->disp.value : 0;
}

static void set_operand(struct soft_insn *i, unsigned n, const ZydisDecodedOperand *from)
{
	struct soft_operand *o = &i->op[n];

	o->size = from->size / 8 > 255 ? 0 : from->size / 8;
	switch (from->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER: set_register(o, from->reg.value); break;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		o->kind = O_MEM;
		set_memory(i, &from->mem);
		break;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		o->kind = O_IMM;
		if (n > 0 && i->op[n - 1].kind == O_IMM)
			i->immediate2 = from->imm.value.u;
		else
			i->immediate = from->imm.value.u;
		break;
	case ZYDIS_OPERAND_TYPE_POINTER:
		o->kind = O_IMM;
		i->immediate = from->ptr.offset;
		i->immediate2 = from->ptr.segment;
		break;
	default: break;
	}
}

/* Which of a handler's four forms: by the first operand, or by the operand size. */
static unsigned form_of(const struct soft_insn *i)
{
	return i->size == 8 ? 3 : i->size == 4 ? 2 : i->size == 2 ? 1 : 0;
}

static bool lock_is_allowed(const ZydisDecodedInstruction *z, const struct soft_insn *i)
{
	return z->attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK && i->op[0].kind == O_MEM;
}

/* For string instructions and XLAT, whose memory operand is hidden. */
static uint8_t prefix_segment(ZydisInstructionAttributes attributes)
{
	static const struct {
		ZydisInstructionAttributes attribute;
		uint8_t segment;
	} prefixes[] = {
		{ZYDIS_ATTRIB_HAS_SEGMENT_ES, SEG_ES},
		{ZYDIS_ATTRIB_HAS_SEGMENT_CS, SEG_CS},
		{ZYDIS_ATTRIB_HAS_SEGMENT_SS, SEG_SS},
		{ZYDIS_ATTRIB_HAS_SEGMENT_FS, SEG_FS},
		{ZYDIS_ATTRIB_HAS_SEGMENT_GS, SEG_GS},
	};

	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (attributes & prefixes[i].attribute)
			return prefixes[i].segment;
	return SEG_DS;
}

/* MOVSD and CMPSD are each the name of two instructions; this is not the string one. */
static bool is_double_move(const ZydisDecodedInstruction *z)
{
	return z->opcode_map == ZYDIS_OPCODE_MAP_0F &&
	       (z->mnemonic == ZYDIS_MNEMONIC_MOVSD || z->mnemonic == ZYDIS_MNEMONIC_CMPSD);
}

/* F3 90 with REX.B is no PAUSE, as Zydis has it, but XCHG of R8 and RAX. */
static void exchange_r8(struct soft_insn *i, const ZydisDecodedInstruction *z)
{
	i->mnemonic = ZYDIS_MNEMONIC_XCHG;
	i->rep = REP_NONE;
	i->size = z->operand_width / 8;
	i->op[0] = (struct soft_operand){O_REG, R8, i->size};
	i->op[1] = (struct soft_operand){O_REG, RAX, i->size};
}

/* What Zydis said, in our form. */
static void convert(struct soft_cpu *c, struct soft_insn *i, const ZydisDecodedInstruction *z,
	const ZydisDecodedOperand *operands, const uint8_t *bytes)
{
	const struct decoder *d = c->engine->zydis;
	const struct soft_handlers *handlers = d->by_mnemonic[z->mnemonic];

	*i = (struct soft_insn){
		.length = z->length,
		.size = z->operand_width / 8,
		.address = z->address_width / 8,
		.stack = z->stack_width / 8,
		.segment = prefix_segment(z->attributes),
		.base = NO_REG,
		.index = NO_REG,
		.mnemonic = z->mnemonic,
		.opcode = z->opcode,
		.condition = z->opcode & 0xf,
		.lock = z->attributes & ZYDIS_ATTRIB_HAS_LOCK,
		.far = z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR,
	};
	if (z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
		i->rep = REP_E;
	else if (z->attributes & ZYDIS_ATTRIB_HAS_REPNE)
		i->rep = REP_NE;
	memcpy(i->bytes, bytes, z->length);
	/* The hidden ones (stack, flags) would cover the memory operand that is written. */
	for (unsigned n = 0; n < z->operand_count_visible && n < 4; n++)
		set_operand(i, n, &operands[n]);
	/* Zydis 4.0.0 takes REX.B for a base register where the SIB byte says that there is none.
	 */
	if (z->attributes & ZYDIS_ATTRIB_HAS_SIB && z->raw.modrm.mod == 0 && z->raw.sib.base == 5) {
		i->base = NO_REG;
		i->displacement = z->raw.disp.value;
	}
	/* Zydis gives byte forms the width of the mode; the operand itself is right. */
	if ((i->op[0].kind == O_REG || i->op[0].kind == O_HIGH || i->op[0].kind == O_MEM) &&
		i->op[0].size == 1)
		i->size = 1;
	if (z->mnemonic == ZYDIS_MNEMONIC_PAUSE && z->raw.rex.B) {
		exchange_r8(i, z);
		handlers = d->by_mnemonic[ZYDIS_MNEMONIC_XCHG];
	}
	if (handlers && !is_double_move(z)) {
		i->run = soft_offers(c, z->meta.isa_set, true) ? handlers->by_size[form_of(i)]
							       : soft_undefined;
		i->ends_block = handlers->ends_block;
	} else {
		soft_native_decode(c, i, z, operands);
	}
	if (!i->run || (i->lock && !lock_is_allowed(z, i)))
		i->run = soft_undefined;
	/* The tests of the tests take an instruction away. */
	if (fault_cpu(ZydisMnemonicGetString(z->mnemonic), z->opcode, &i->immediate) == FAULT_DROP)
		i->run = do_nothing;
	if (i->run == soft_undefined)
		i->ends_block = true;
}

/* Decodes one at `from`; returns its length, or 0 when more bytes than `available` are needed.
 * What is no instruction becomes one that raises #UD. */
static unsigned decode_one(
	struct soft_cpu *c, struct soft_insn *i, const uint8_t *from, unsigned available)
{
	struct decoder *d = c->engine->zydis;
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t bytes[INSN_BYTES];
	ZyanStatus status;

	/* Read once: a device's thread may write here meanwhile, and what is kept of the bytes
	 * becomes host code. */
	memcpy(bytes, from, available);
	status = ZydisDecoderDecodeFull(&d->by_mode[mode_of(c)], bytes, available, &z, operands);
	if (ZYAN_SUCCESS(status)) {
		convert(c, i, &z, operands, bytes);
		return z.length;
	}
	if (status == ZYDIS_STATUS_NO_MORE_DATA && available < INSN_BYTES)
		return 0;
	/* Longer than 15 bytes is #GP, all else #UD (SDM 3A, 6.15). */
	*i = (struct soft_insn){.length = 1, .ends_block = true};
	i->run = status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA
			 ? too_long
			 : soft_undefined;
	return 1;
}

static void set_code_bit(struct soft_cpu *c, uint64_t physical)
{
	struct soft_engine *engine = c->engine;
	uint64_t page = physical >> 12;

	if (page >= CODE_PAGES || engine->code_pages[page / 8] >> (page % 8) & 1)
		return;
	engine->code_pages[page / 8] |= 1u << page % 8;
	for (unsigned i = 0; i < engine->engine.cpus; i++)
		soft_tlb_forget_writes(&engine->cpus[i], physical);
}

bool soft_is_code(const struct soft_engine *engine, uint64_t physical)
{
	uint64_t page = physical >> 12;

	return page < CODE_PAGES && engine->code_pages[page / 8] >> (page % 8) & 1;
}

void soft_blocks_flush(struct soft_engine *engine)
{
	struct decoder *d = engine->zydis;

	if (engine->arena_used) {
		madvise(engine->blocks, BLOCK_SLOTS * sizeof(*engine->blocks), MADV_DONTNEED);
		madvise(engine->code_pages, CODE_PAGES / 8, MADV_DONTNEED);
		memset(d->by_page, 0, sizeof(d->by_page));
	}
	engine->arena_used = 0;
	soft_translate_flush(engine);
	for (unsigned i = 0; i < engine->engine.cpus; i++) {
		engine->cpus[i].break_block = true;
		/* Pages that held code may be written directly again: found out anew. */
		soft_tlb_flush(&engine->cpus[i], true);
	}
}

/* By the guest's address: which blocks push each other out is the same in every run. */
static uint64_t hash(uint64_t physical, uint32_t mode)
{
	return (physical ^ physical >> 14 ^ mode << 5) & (BLOCK_SLOTS - 1);
}

static struct soft_block **blocks_of_page(struct soft_engine *engine, const uint8_t *host)
{
	struct decoder *d = engine->zydis;

	return &d->by_page[((uintptr_t)host >> 12) % PAGE_SLOTS];
}

static void forget_block(struct soft_engine *engine, struct soft_block *b)
{
	struct soft_block **at = blocks_of_page(engine, b->host);

	while (*at != b)
		at = &(*at)->next_in_page;
	*at = b->next_in_page;
	b->host = NULL;
}

/* Another needs its place.  Host code goes on jumping to this one's, until there is a new
 * generation: a write to the page must give one. */
static void push_out(struct soft_engine *engine, struct soft_block *b)
{
	struct decoder *d = engine->zydis;

	if (b->code)
		d->pushed_out[blocks_of_page(engine, b->host) - d->by_page] = true;
	forget_block(engine, b);
}

/* What a write of a part of one page leaves of its blocks. */
struct leavings {
	bool some, fewer;
};

/* What no instruction is may become one when a byte behind its first changes. */
static struct leavings forget_written(
	struct soft_engine *engine, const uint8_t *host, uint64_t length)
{
	struct decoder *d = engine->zydis;
	struct soft_block **blocks = blocks_of_page(engine, host), *next;
	struct leavings result = {false, d->pushed_out[blocks - d->by_page]};

	d->pushed_out[blocks - d->by_page] = false;
	for (struct soft_block *b = *blocks; b; b = next) {
		next = b->next_in_page;
		if (((uintptr_t)b->host ^ (uintptr_t)host) >> 12)
			continue;
		if (b->host < host + length && host < b->host + b->bytes + INSN_BYTES) {
			forget_block(engine, b);
			result.fewer = true;
		} else {
			result.some = true;
		}
	}
	return result;
}

static void code_written_in_page(struct soft_engine *engine, uint64_t physical, uint64_t length)
{
	struct guest_memory *mem = &engine->engine.machine->memory;
	struct leavings leavings = {false, false};
	uint64_t page = physical >> 12;

	for (unsigned i = 0; i < mem->count; i++)
		if (physical - mem->blocks[i].address < mem->blocks[i].size)
			leavings = forget_written(engine,
				mem->blocks[i].host + (physical - mem->blocks[i].address), length);
	if (!leavings.some)
		engine->code_pages[page / 8] &= ~(1u << page % 8);
	for (unsigned i = 0; leavings.fewer && i < engine->engine.cpus; i++) {
		engine->cpus[i].break_block = true;
		soft_new_generation(&engine->cpus[i]);
	}
}

void soft_code_written(struct soft_engine *engine, uint64_t physical, uint64_t length)
{
	while (length) {
		uint64_t part = 0x1000 - (physical & 0xfff);

		part = part < length ? part : length;
		if (soft_is_code(engine, physical))
			code_written_in_page(engine, physical, part);
		physical += part;
		length -= part;
	}
}

/* An instruction over the end of a page, or outside of RAM: byte by byte, and not kept. */
static struct soft_block *decode_single(struct soft_cpu *c, uint64_t linear)
{
	struct decoder *d = c->engine->zydis;
	uint8_t bytes[INSN_BYTES];
	unsigned have = 0, length = 0;

	while (have < INSN_BYTES && !length) {
		const uint8_t *host;

		if (!c->long_mode && c->rip + have > c->seg[SEG_CS].limit)
			soft_fault(c, V_GP, 0);
		host = soft_fetch(c, c->long_mode ? linear + have : (uint32_t)(linear + have));
		/* Execution from MMIO is nothing this machine can do: as if nothing decoded there.
		 */
		bytes[have++] = host ? *host : 0xff;
		length = decode_one(c, &d->single, bytes, have);
	}
	if (!length)
		soft_fault(c, V_GP, 0);
	d->single_block = (struct soft_block){.count = 1, .insns = &d->single};
	return &d->single_block;
}

static void check_code_limit(struct soft_cpu *c, uint64_t linear)
{
	if (c->long_mode) {
		if ((int64_t)(linear << 16) >> 16 != (int64_t)linear)
			soft_fault(c, V_GP, 0);
	} else if (c->rip > c->seg[SEG_CS].limit) {
		soft_fault(c, V_GP, 0);
	}
}

static void decode_block(
	struct soft_cpu *c, struct soft_block *b, const uint8_t *host, unsigned room)
{
	struct soft_engine *engine = c->engine;
	unsigned at = 0;

	*b = (struct soft_block){.insns = engine->arena + engine->arena_used};
	while (b->count < BLOCK_MAX && at < room) {
		struct soft_insn *i = &b->insns[b->count];
		unsigned length = decode_one(
			c, i, host + at, room - at < INSN_BYTES ? room - at : INSN_BYTES);

		if (!length || (i->length > room - at))
			break;
		i->number = b->count++;
		at += length;
		if (i->ends_block)
			break;
	}
	b->bytes = at;
	engine->arena_used += b->count;
}

/* Whether the block ends within the code segment: its limit is no part of what finds a block. */
static bool within_limit(const struct soft_cpu *c, const struct soft_block *b)
{
	return c->long_mode || c->rip + b->bytes - 1 <= c->seg[SEG_CS].limit;
}

struct soft_block *soft_block_at(struct soft_cpu *c)
{
	struct soft_engine *engine = c->engine;
	uint64_t linear = c->long_mode ? c->rip : (uint32_t)(c->seg[SEG_CS].base + c->rip);
	uint32_t mode = mode_of(c) | (c->user ? 4 : 0); /* host code is for one privilege */
	struct soft_block *b;
	const uint8_t *host;
	uint64_t page;

	check_code_limit(c, linear);
	host = soft_fetch(c, linear);
	if (!host)
		return decode_single(c, linear);
	page = c->tlb[c->user][linear >> 12 & (TLB_ENTRIES - 1)].physical;
	b = &engine->blocks[hash(page | (linear & 0xfff), mode)];
	if (b->host == host && b->mode == mode)
		return within_limit(c, b) ? b : decode_single(c, linear);
	if (engine->arena_used + BLOCK_MAX > engine->arena_size)
		soft_blocks_flush(engine);
	if (b->host)
		push_out(engine, b);
	decode_block(c, b, host, 0x1000 - (linear & 0xfff));
	if (!b->count)
		return decode_single(c, linear);
	b->host = host;
	b->mode = mode;
	b->next_in_page = *blocks_of_page(engine, host);
	*blocks_of_page(engine, host) = b;
	set_code_bit(c, page);
	if (log_wants(LOG_IN_ASM))
		soft_trace_block(c, b);
	return within_limit(c, b) ? b : decode_single(c, linear);
}
