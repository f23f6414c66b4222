/* SPDX-License-Identifier: MIT */
/*
 * libZydis, loaded when the first software processor is made, or a fatal line is printed: a VM
 * under KVM starts without it.
 *
 * The functions that are used have the library's names and pass their arguments on, so that callers
 * need not know; the executable is not linked with it.
 */
#include <Zydis/Zydis.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "cpu/soft/soft.h"

#define LIBRARY "libZydis.so.4.0" /* the soname, which carries the version of the interface */

/* name, result, parameters, arguments */
#define FUNCTIONS(X)                                                                               \
	X(ZydisDecoderInit, ZyanStatus,                                                            \
		(ZydisDecoder * decoder, ZydisMachineMode mode, ZydisStackWidth stack),            \
		(decoder, mode, stack))                                                            \
	X(ZydisDecoderEnableMode, ZyanStatus,                                                      \
		(ZydisDecoder * decoder, ZydisDecoderMode mode, ZyanBool enabled),                 \
		(decoder, mode, enabled))                                                          \
	X(ZydisDecoderDecodeFull, ZyanStatus,                                                      \
		(const ZydisDecoder *decoder, const void *buffer, ZyanUSize length,                \
			ZydisDecodedInstruction *instruction,                                      \
			ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT]),                    \
		(decoder, buffer, length, instruction, operands))                                  \
	X(ZydisFormatterInit, ZyanStatus, (ZydisFormatter * formatter, ZydisFormatterStyle style), \
		(formatter, style))                                                                \
	X(ZydisFormatterFormatInstruction, ZyanStatus,                                             \
		(const ZydisFormatter *formatter, const ZydisDecodedInstruction *instruction,      \
			const ZydisDecodedOperand *operands, ZyanU8 operand_count, char *buffer,   \
			ZyanUSize length, ZyanU64 runtime_address, void *user_data),               \
		(formatter, instruction, operands, operand_count, buffer, length, runtime_address, \
			user_data))                                                                \
	X(ZydisMnemonicGetString, const char *, (ZydisMnemonic mnemonic), (mnemonic))              \
	X(ZydisRegisterGetClass, ZydisRegisterClass, (ZydisRegister reg), (reg))                   \
	X(ZydisRegisterGetId, ZyanI8, (ZydisRegister reg), (reg))

#define POINTER(name, result, parameters, arguments) static result(*real_##name) parameters;
FUNCTIONS(POINTER)

#define FORWARD(name, result, parameters, arguments) \
	result name parameters                       \
	{                                            \
		return real_##name arguments;        \
	}
FUNCTIONS(FORWARD)

int soft_zydis_load(struct error *err)
{
	static const struct {
		const char *name;
		void *pointer;
	} functions[] = {
#define ROW(name, result, parameters, arguments) {#name, &real_##name},
		FUNCTIONS(ROW)};
	void *library;

	if (real_ZydisDecoderInit)
		return 0;
	library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return error_set(err, ENOENT, "-accel soft needs %s: %s", LIBRARY, dlerror());
	for (unsigned i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *found = dlsym(library, functions[i].name);

		if (!found)
			return error_set(err, ENOENT, "%s has no %s", LIBRARY, functions[i].name);
		memcpy(functions[i].pointer, &found, sizeof(found));
	}
	return 0;
}
