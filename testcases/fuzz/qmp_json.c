/* SPDX-License-Identifier: MIT */
/* The bytes of a QMP client, in pieces of any length.  Whatever came, after 0xff (which no JSON
 * has) a sound command is understood. */
#include "monitor/json-stream.h"

#include "input.h"

static unsigned values, errors;

static void count_value(void *opaque, json_t *value, const char *error)
{
	REQUIRE(!value != !error);
	if (value) {
		char *text = json_dumps(value, JSON_ENCODE_ANY);

		/* Numbers beyond what a double holds are refused, so all can be said again. */
		REQUIRE(text);
		free(text);
		json_decref(value);
		values++;
	} else {
		REQUIRE(*error);
		errors++;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char command[] = "\xff{'execute': \"stop\"}";
	struct json_stream stream = {.value = count_value};
	size_t piece = size ? data[0] % 17 + 1 : 1;

	for (size_t at = 1; at < size; at += piece)
		json_stream_feed(&stream, data + at, size - at < piece ? size - at : piece);
	values = 0;
	json_stream_feed(&stream, (const uint8_t *)command, sizeof(command) - 1);
	REQUIRE(values == 1);
	json_stream_reset(&stream);
	free(stream.text);
	return 0;
}
