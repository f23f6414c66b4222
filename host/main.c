/* SPDX-License-Identifier: MIT */
/* build/assay: command line, machine, main loop. */
#include <stdio.h>

int main(void)
{
	fprintf(stderr, "assay: no machine is built in yet\n");
	return 1;
}
