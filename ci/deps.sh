#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs what is missing of ci/packages.txt, and says so; does nothing if all is there.
# As a user it can only say what is missing, and fails if that is needed to build or test.
# `deps.sh bench` installs what only the benchmark compares with, too.
set -euo pipefail

list=$(dirname "$0")/packages.txt
missing=() needed=()
while read -r package need why; do
	case $package in '' | '#'*) continue ;; esac
	[ "$need" = bench ] && [ "${1:-}" != bench ] && continue
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] && continue
	missing+=("$package")
	[ "$need" = lint ] || [ "$need" = bench ] || needed+=("$package")
	echo "deps: $package is missing ($need: $why)"
done <"$list"

if [ ${#missing[@]} -eq 0 ]; then
	echo "deps: everything is there"
	exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "deps: only root can install; run: sudo apt-get install --no-install-recommends ${missing[*]}"
	[ ${#needed[@]} -eq 0 ]
	exit
fi
echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "${missing[@]}"
