#!/bin/bash
# Builds bin/ds01_VERSION_ARCH.deb from bin/ds01.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf bin/deb
mkdir -p bin/deb/links bin/deb/completions
# shellcheck disable=SC2016 # the backquotes are the page's own
bin/ds01 docs | sed -n 's/^| `\([a-z0-9-]*\)` | `ds01 .*/\1/p' | while read -r name; do
	ln -s ds01 "bin/deb/links/$name"
done
bin/ds01 completion bash >bin/deb/completions/ds01
bin/ds01 completion zsh >bin/deb/completions/_ds01
bin/ds01 completion fish >bin/deb/completions/ds01.fish

version=$(git describe --tags --match 'v[0-9]*' 2>/dev/null) ||
	version=0.0.0~git$(git rev-parse --short HEAD 2>/dev/null || echo 0)
version=${version#v}
DEB_ARCH=$(dpkg --print-architecture)
DEB_VERSION=$version
export DEB_ARCH DEB_VERSION
(cd tools && go build -o ../bin/nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm)
bin/nfpm package --config deploy/nfpm.yaml --packager deb --target bin/
