#!/bin/bash
# test-gpu.sh FILE: runs the contract of GPU drivers on the cards of this machine,
# and writes a record of it to FILE. It changes nothing on the cards: each
# operation that it tries is one that must be refused. Fails without a card, and
# when a test fails.
set -euo pipefail
cd "$(dirname "$0")/.."
record=$1
if ! cards=$(nvidia-smi -L) || [ -z "$cards" ]; then
	echo "test-gpu: no NVIDIA card answers here (nvidia-smi -L); nothing was tried" >&2
	exit 1
fi
mkdir -p "$(dirname "$record")"
result=passed
log=$(DS01_TEST_GPU=1 go test -vet=off -count 1 -v -run 'OnTheRealDriver' ./internal/nvml 2>&1) || result=failed
{
	echo "## $(date -u +%Y-%m-%d), $(git describe --tags --always --dirty): $result"
	echo
	echo '```text'
	nvidia-smi --query-gpu=index,name,driver_version,vbios_version,mig.mode.current --format=csv
	uname -sr
	echo
	printf '%s\n' "$log"
	echo '```'
} >"$record"
cat "$record"
echo
echo "Put $record into docs/developers/gpu-runs.md."
[ "$result" = passed ]
