#!/bin/bash
# SPDX-License-Identifier: MIT
# make lint (and make format): layout, static analysis, the order of the rooms.  Says what each step is; fails at the end.
set -uo pipefail
cd "$(dirname "$0")/.."

jobs=${JOBS:-2}
failed=0
step() {
	local name=$1
	shift
	echo "lint: $name"
	"$@" || {
		echo "lint: $name FAILED"
		failed=1
	}
}

c_files() { git ls-files --cached --others --exclude-standard -- '*.c' '*.h'; }
hosted_c() { git ls-files --cached --others --exclude-standard -- 'host/*.c' 'testcases/*.c'; }

# What has found faults without crying wolf on this code.
checks='-*,clang-analyzer-*,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,-clang-analyzer-security.insecureAPI.strcpy'
# Padding is not worth an order of fields; va_list in clang 14 is wrong about a second argument.
checks+=',-clang-analyzer-optin.performance.Padding,-clang-analyzer-valist.Uninitialized'
checks+=',bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions'
checks+=',-bugprone-implicit-widening-of-multiplication-result,-bugprone-reserved-identifier'
checks+=',-bugprone-branch-clone,-bugprone-macro-parentheses,-bugprone-suspicious-include,-bugprone-suspicious-string-compare'
flags=(-DASSAY_FAULTS=1 -std=c17 -D_GNU_SOURCE -Ihost -Wall -Wextra -Wno-unused-parameter)
# A fifth of the analyzer's budget a function: with all of it a file of host/cpu/soft takes minutes.
flags+=(-Xclang -analyzer-config -Xclang max-nodes=45000)

if [ "${1:-}" = format ]; then
	c_files | xargs -r clang-format -i
	exit
fi

layout() {
	local bad=0
	for file in $(c_files); do
		clang-format --dry-run -Werror "$file" 2>/dev/null || {
			echo "$file: not laid out by .clang-format; make format does it"
			bad=1
		}
	done
	return $bad
}

tidy_all() {
	hosted_c | xargs -r -P "$jobs" -n 4 sh -c '
		clang-tidy --quiet --checks="'"$checks"'" --warnings-as-errors="*" "$@" -- '"${flags[*]}"' 2>/dev/null >/tmp/assay-tidy.$$ ||
			{ grep -E "error:|warning:" /tmp/assay-tidy.$$; rm -f /tmp/assay-tidy.$$; exit 1; }
		rm -f /tmp/assay-tidy.$$' sh
}

step "order of rooms, licence lines, length of files and functions" python3 -B ci/rooms.py
step "layout (clang-format)" layout
step "clang-tidy" tidy_all
step "cppcheck" cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -j "$jobs" \
	--enable=warning,performance,portability --suppressions-list=ci/cppcheck.txt \
	-D__x86_64__ -Ihost host
exit $failed
