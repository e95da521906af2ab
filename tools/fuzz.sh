#!/bin/bash
# fuzz.sh TIME [NAME]: runs each fuzz target, or those with NAME in theirs, for
# TIME, such as 10s.
set -euo pipefail
# Minimising what is new to the corpus would take most of a short run.
time=$1
name=${2:-}
found=0
folders=$({ grep -rl --include='*_test.go' "^func Fuzz.*$name" . || true; } | xargs -r dirname | sort -u)
for package in $folders; do # asking every package would build all tests
	for target in $(go test -vet=off -list "^Fuzz.*$name" "$package" | grep '^Fuzz' || true); do
		echo "$package $target"
		go test -vet=off -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 5x "$package"
		found=$((found + 1))
	done
done
echo "$found fuzz targets ran for $time each"
[ "$found" -gt 0 ]
