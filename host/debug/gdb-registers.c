/* SPDX-License-Identifier: MIT */
/*
 * The registers as gdb numbers them, from one table that also gives the description gdb asks for:
 * the features org.gnu.gdb.i386.core, .sse and .segments, then the control registers.
 *
 * x87 and SSE are where FXSAVE has them (SDM 1, table 10-2).  Control and segment registers can be
 * read only: a selector alone says too little, and a mode is not changed from outside.
 */
#include "debug/gdb-registers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RFLAGS_WRITABLE 0x3d4dd5u /* all but VM and the reserved bits */
#define EFER_LMA	(1u << 10)

/* FXSAVE's image */
#define FX_FCW	  0
#define FX_FSW	  2
#define FX_FTW	  4
#define FX_FOP	  6
#define FX_FIP	  8
#define FX_FDP	  16
#define FX_MXCSR  24
#define FX_ST	  32
#define FX_XMM	  160
#define FX_ST_MAX 8

enum kind {
	K_PLAIN, /* at `offset` of struct cpu_context */
	K_FX,	 /* at `offset` of the FXSAVE image, `bytes` of it */
	K_TAG,
	K_RIP,
	K_FLAGS,
	K_BASE,
	K_FIXED, /* K_PLAIN that cannot be set */
};

struct gdb_register {
	const char *name, *type, *feature; /* feature: of it and those that follow */
	enum kind kind;
	unsigned bytes, held; /* in gdb's packets; in the context, if fewer */
	size_t offset;
};

#define REGS(member) offsetof(struct cpu_context, regs.member)
#define GPR(low, number)                                                              \
	{                                                                             \
		.name = low, .type = "int64", .bytes = 8, .offset = REGS(gpr[number]) \
	}
#define SELECTOR(low)                                                                  \
	{                                                                              \
		.name = #low, .type = "int32", .kind = K_FIXED, .bytes = 4, .held = 2, \
		.offset = REGS(low.selector)                                           \
	}
#define ST(n)                                                                   \
	{                                                                       \
		.name = "st" #n, .type = "i387_ext", .kind = K_FX, .bytes = 10, \
		.offset = FX_ST + 16 * (n)                                      \
	}
#define X87(low, at, size)                                                                       \
	{                                                                                        \
		.name = low, .type = "int", .kind = K_FX, .bytes = 4, .held = size, .offset = at \
	}
#define XMM(n)                                                                 \
	{                                                                      \
		.name = "xmm" #n, .type = "vec128", .kind = K_FX, .bytes = 16, \
		.offset = FX_XMM + 16 * (n)                                    \
	}
#define CONTROL(low)                                                                            \
	{                                                                                       \
		.name = #low, .type = "int64", .kind = K_FIXED, .bytes = 8, .offset = REGS(low) \
	}

static const struct gdb_register table[] = {
	{.name = "rax",
		.type = "int64",
		.feature = "org.gnu.gdb.i386.core",
		.bytes = 8,
		.offset = REGS(gpr[RAX])},
	GPR("rbx", RBX),
	GPR("rcx", RCX),
	GPR("rdx", RDX),
	GPR("rsi", RSI),
	GPR("rdi", RDI),
	{.name = "rbp", .type = "data_ptr", .bytes = 8, .offset = REGS(gpr[RBP])},
	{.name = "rsp", .type = "data_ptr", .bytes = 8, .offset = REGS(gpr[RSP])},
	GPR("r8", R8),
	GPR("r9", R9),
	GPR("r10", R10),
	GPR("r11", R11),
	GPR("r12", R12),
	GPR("r13", R13),
	GPR("r14", R14),
	GPR("r15", R15),
	{.name = "rip", .type = "code_ptr", .kind = K_RIP, .bytes = 8, .offset = REGS(rip)},
	{.name = "eflags",
		.type = "i386_eflags",
		.kind = K_FLAGS,
		.bytes = 4,
		.offset = REGS(rflags)},
	SELECTOR(cs),
	SELECTOR(ss),
	SELECTOR(ds),
	SELECTOR(es),
	SELECTOR(fs),
	SELECTOR(gs),
	ST(0),
	ST(1),
	ST(2),
	ST(3),
	ST(4),
	ST(5),
	ST(6),
	ST(7),
	X87("fctrl", FX_FCW, 2),
	X87("fstat", FX_FSW, 2),
	{.name = "ftag", .type = "int", .kind = K_TAG, .bytes = 4},
	X87("fiseg", FX_FIP + 4, 4),
	X87("fioff", FX_FIP, 4),
	X87("foseg", FX_FDP + 4, 4),
	X87("fooff", FX_FDP, 4),
	X87("fop", FX_FOP, 2),
	{.name = "xmm0",
		.type = "vec128",
		.feature = "org.gnu.gdb.i386.sse",
		.kind = K_FX,
		.bytes = 16,
		.offset = FX_XMM},
	XMM(1),
	XMM(2),
	XMM(3),
	XMM(4),
	XMM(5),
	XMM(6),
	XMM(7),
	XMM(8),
	XMM(9),
	XMM(10),
	XMM(11),
	XMM(12),
	XMM(13),
	XMM(14),
	XMM(15),
	{.name = "mxcsr", .type = "i386_mxcsr", .kind = K_FX, .bytes = 4, .offset = FX_MXCSR},
	{.name = "fs_base",
		.type = "int64",
		.feature = "org.gnu.gdb.i386.segments",
		.kind = K_BASE,
		.bytes = 8,
		.offset = REGS(fs.base)},
	{.name = "gs_base", .type = "int64", .kind = K_BASE, .bytes = 8, .offset = REGS(gs.base)},
	{.name = "cr0",
		.type = "int64",
		.feature = "assay.i386.control",
		.kind = K_FIXED,
		.bytes = 8,
		.offset = REGS(cr0)},
	CONTROL(cr2),
	CONTROL(cr3),
	CONTROL(cr4),
	CONTROL(cr8),
	CONTROL(efer),
};
const unsigned gdb_register_count = sizeof(table) / sizeof(table[0]);

/* Two bits a physical register (SDM 1, 8.1.7), of which FXSAVE keeps "empty or not". */
static uint16_t tag_word(const uint8_t *fx)
{
	unsigned top = fx[FX_FSW + 1] >> 3 & 7;
	uint16_t tags = 0;

	for (unsigned n = 0; n < FX_ST_MAX; n++) {
		const uint8_t *st = fx + FX_ST + 16 * ((n - top) & 7);
		uint16_t exponent;
		uint64_t mantissa;
		unsigned tag;

		memcpy(&mantissa, st, 8);
		memcpy(&exponent, st + 8, 2);
		exponent &= 0x7fff;
		if (!(fx[FX_FTW] >> n & 1))
			tag = 3;
		else if (!exponent && !mantissa)
			tag = 1;
		else
			tag = exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
		tags |= tag << 2 * n;
	}
	return tags;
}

unsigned gdb_register_size(unsigned n)
{
	return table[n].bytes;
}

unsigned gdb_register_get(const struct cpu_context *context, unsigned n, uint8_t *bytes)
{
	const struct gdb_register *reg = &table[n];
	unsigned held = reg->held ? reg->held : reg->bytes;
	uint16_t tags;

	memset(bytes, 0, GDB_REGISTER_MAX);
	if (reg->kind == K_TAG) {
		tags = tag_word(context->fxsave);
		memcpy(bytes, &tags, sizeof(tags));
	} else if (reg->kind == K_FX) {
		memcpy(bytes, context->fxsave + reg->offset, held);
	} else {
		memcpy(bytes, (const uint8_t *)context + reg->offset, held);
	}
	return reg->bytes;
}

static int set_tags(struct cpu_context *context, const uint8_t *bytes)
{
	uint16_t tags;

	memcpy(&tags, bytes, sizeof(tags));
	context->fxsave[FX_FTW] = 0;
	for (unsigned n = 0; n < FX_ST_MAX; n++)
		context->fxsave[FX_FTW] |= ((tags >> 2 * n & 3) != 3) << n;
	return 0;
}

/* An address that the processor's registers could have held in this mode. */
static bool is_address(const struct cpu_context *context, uint64_t value, bool code)
{
	bool wide = context->regs.efer & EFER_LMA && (!code || context->regs.cs.l);

	return wide ? (int64_t)(value << 16) >> 16 == (int64_t)value : value <= UINT32_MAX;
}

int gdb_register_set(struct cpu_context *context, unsigned n, const uint8_t *bytes)
{
	const struct gdb_register *reg = &table[n];
	uint8_t before[GDB_REGISTER_MAX];
	uint64_t value = 0;

	gdb_register_get(context, n, before);
	if (!memcmp(before, bytes, reg->bytes))
		return 0;
	memcpy(&value, bytes, reg->bytes < 8 ? reg->bytes : 8);
	switch (reg->kind) {
	case K_FX:
		memcpy(context->fxsave + reg->offset, bytes, reg->held ? reg->held : reg->bytes);
		return 0;
	case K_TAG: return set_tags(context, bytes);
	case K_FLAGS:
		context->regs.rflags = (context->regs.rflags & ~(uint64_t)RFLAGS_WRITABLE) |
				       (value & RFLAGS_WRITABLE);
		return 0;
	case K_RIP:
	case K_BASE:
		if (!is_address(context, value, reg->kind == K_RIP))
			return -EINVAL;
		break;
	case K_FIXED: return -EINVAL;
	case K_PLAIN: break;
	}
	memcpy((uint8_t *)context + reg->offset, &value, 8);
	return 0;
}

struct text {
	char *to;
	size_t size, length;
};

static void add(struct text *t, const char *piece)
{
	for (; *piece; piece++, t->length++)
		if (t->length < t->size)
			t->to[t->length] = *piece;
}

/* The types that gdb does not have by itself. */
static const char flags_type[] =
	"<flags id=\"i386_eflags\" size=\"4\">"
	"<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"PF\" start=\"2\" end=\"2\"/>"
	"<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/>"
	"<field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" end=\"8\"/>"
	"<field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>"
	"<field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"NT\" start=\"14\" end=\"14\"/>"
	"<field name=\"RF\" start=\"16\" end=\"16\"/><field name=\"VM\" start=\"17\" end=\"17\"/>"
	"<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"ID\" start=\"21\" end=\"21\"/>"
	"</flags>";
static const char sse_types[] =
	"<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
	"<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
	"<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
	"<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
	"<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
	"<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
	"<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
	"<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
	"<field name=\"uint128\" type=\"uint128\"/></union>"
	"<flags id=\"i386_mxcsr\" size=\"4\">"
	"<field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
	"<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/>"
	"<field name=\"UE\" start=\"4\" end=\"4\"/><field name=\"PE\" start=\"5\" end=\"5\"/>"
	"<field name=\"IM\" start=\"7\" end=\"7\"/><field name=\"FZ\" start=\"15\" end=\"15\"/>"
	"</flags>";

size_t gdb_description(char *text, size_t size)
{
	struct text t = {.to = text, .size = size};
	bool open = false;
	char line[128];

	add(&t, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
		"<architecture>i386:x86-64</architecture>");
	for (unsigned n = 0; n < gdb_register_count; n++) {
		const struct gdb_register *reg = &table[n];

		if (reg->feature) {
			snprintf(line, sizeof(line), "%s<feature name=\"%s\">",
				open ? "</feature>" : "", reg->feature);
			add(&t, line);
			if (!open)
				add(&t, flags_type);
			else if (strstr(reg->feature, "sse"))
				add(&t, sse_types);
			open = true;
		}
		snprintf(line, sizeof(line), "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"/>",
			reg->name, reg->bytes * 8, reg->type);
		add(&t, line);
	}
	add(&t, "</feature></target>");
	return t.length;
}
