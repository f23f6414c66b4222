#!/bin/bash
# SPDX-License-Identifier: MIT
# ci/fuzz.sh run SECONDS TARGET...   each target for that long, on from build/fuzz/corpus
# ci/fuzz.sh keep TARGET...          the corpus of the tree, minimised, with what build/fuzz/corpus adds
# ci/fuzz.sh cover TARGET...         lines of host/virtio that the corpus of the tree reaches
# An input that fails is kept in build/fuzz/crashes, with the command that repeats it.
set -uo pipefail
cd "$(dirname "$0")/.."

out=build/fuzz
export UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
export ASAN_OPTIONS=quarantine_size_mb=32:${ASAN_OPTIONS:-}
mkdir -p $out/crashes
failed=0

run() {
	local target=$1 kept=testcases/fuzz/corpus/$1 log=$out/$1.log
	mkdir -p "$out/corpus/$target" "$kept"
	"$out/$target" -max_total_time="$seconds" -max_len=600 -print_final_stats=1 ${FUZZ_SEED:+-seed=$FUZZ_SEED} \
		-artifact_prefix="$out/crashes/$target-" "$out/corpus/$target" "$kept" >"$log" 2>&1
	local status=$?
	awk -v target="$target" '
		/stat::number_of_executed_units/ { runs = $2 }
		/stat::average_exec_per_sec/ { rate = $2 }
		/ cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
		END { printf "fuzz: %s: %d executions, %d a second, %d edges\n", target, runs, rate, cov }' "$log"
	if [ $status -ne 0 ]; then
		grep -E 'REQUIRE|READ TWICE|SUMMARY|runtime error|Test unit' "$log" | head -5
		local input
		input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
		echo "fuzz: $target FAILED; again: $out/$target $input"
		failed=1
	fi
}

keep() {
	local target=$1 kept=testcases/fuzz/corpus/$1 new
	new=$(mktemp -d)
	# Plain edges, not how often: few inputs reach them all.
	"$out/$target" -set_cover_merge=1 -use_counters=0 -max_len=600 "$new" "$kept" "$out/corpus/$target" >"$out/$target.log" 2>&1 || {
		tail -5 "$out/$target.log"
		failed=1
		return
	}
	# What once was a bug stays, whatever it covers.
	find "$kept" -type f ! -name 'bug-*' -delete
	cp "$new"/* "$kept"
	rm -rf "$new"
	echo "fuzz: $target: $(find "$kept" -type f | wc -l) inputs, $(du -sb "$kept" | cut -f1) bytes"
}

# The profiles of all targets in one table: they share the code, but not their main programs.
cover() {
	local target=$1 out=build/fuzz-cover
	LLVM_PROFILE_FILE=$out/$target.profraw "$out/$target" -runs=0 "testcases/fuzz/corpus/$target" \
		>"$out/$target.log" 2>&1 || failed=1
	objects+=(${objects[0]:+-object} "$out/$target")
}

cover_report() {
	local out=build/fuzz-cover
	"$llvm/llvm-profdata" merge -o $out/all.profdata $out/*.profraw
	"$llvm/llvm-cov" report -instr-profile=$out/all.profdata "${objects[@]}" "$PWD"/host/virtio/*.c "$PWD"/host/migration/*.c |
		awk '/\.c / { printf "%-20s %5d lines, %5d reached, %s\n", $1, $8, $8 - $9, $10 }'
	echo "functions of host/virtio that nothing reaches:"
	"$llvm/llvm-cov" report -show-functions -instr-profile=$out/all.profdata "${objects[@]}" "$PWD"/host/virtio/*.c |
		awk '/^File/ { file = $2 } $7 == "0.00%" && $1 != "TOTAL" { print "  " file " " $1 }'
}

llvm=$(clang -print-resource-dir 2>/dev/null)/../../../bin
objects=()
what=$1
shift
if [ "$what" = run ]; then
	seconds=$1
	shift
fi
for target in "$@"; do
	$what "$target"
done
if [ "$what" = cover ]; then
	cover_report
fi
exit $failed
