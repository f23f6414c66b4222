/* SPDX-License-Identifier: MIT */
/* The ISA bus (isa.h). */
#include "bus/isa.h"

void isa_bus_init(struct bus *bus, struct machine *machine)
{
	bus_register(bus, machine, "ISA", "isa.0");
}
