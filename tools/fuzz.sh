#!/bin/bash
# fuzz.sh TIME: runs each fuzz target for TIME, such as 10s.
set -euo pipefail
# Minimising what is new to the corpus would take most of a short run.
time=$1
found=0
for package in $(go list ./...); do
	for target in $(go test -vet=off -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "$package $target"
		go test -vet=off -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 5x "$package"
		found=$((found + 1))
	done
done
echo "$found fuzz targets ran for $time each"
[ "$found" -gt 0 ]
