# 'make' lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# root's PATH after sudo or su may lack Go and the engine
export PATH := $(PATH):/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin

# go-nvml calls functions that NVIDIA calls deprecated
export CGO_CFLAGS := -O2 -g -Wno-deprecated-declarations
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# tests of the whole wait as much as they work
GOTEST := go test -vet=off -race -p $$((2 * $$(nproc)))
SCRIPTS := .ci/run tools/*.sh deploy/*.sh internal/e2e/install/testdata/* internal/docker/scratch/*.sh internal/e2e/crash/testdata/hook/* internal/e2e/clients/testdata/bin/*

.PHONY: help deps build demo test test-long test-gpu test-install redteam test-vm lint fmt fuzz bench deb clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

deps: ## install the Debian packages that building and testing need
	tools/deps.sh

build: deps ## bin/ds01
	go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/ds01 ./cmd/ds01

demo: build ## the main job on a real engine, as root; KEEP=1 leaves it running
	bin/ds01 demo $(if $(KEEP),--keep)

test: deps ## every test, with the race detector, on a real engine if root
	$(GOTEST) -timeout 25m ./...

test-long: deps ## the same with more rounds in the crash and load suites
	DS01_TEST_LONG=1 $(GOTEST) -timeout 80m ./...
	DS01_TEST_LONG=1 go test -vet=off -count 1 -timeout 60m -run 'KeepTheirPromises|KeepsItsPromises|Starves|KeepEveryPromise|WhateverPeopleDo' ./internal/nvml/sim ./internal/daemon ./internal/allocator

test-gpu: deps ## the driver's contract on this machine's cards, changing nothing; the record: bin/gpu-run.md
	tools/test-gpu.sh bin/gpu-run.md

test-install: deps ## ds01 put on a host with systemd, and taken away again, as root, in a container; needs debootstrap
	DS01_TEST_LONG=1 $(GOTEST) -v -count 1 -timeout 40m ./internal/e2e/install

redteam: deps ## every attack on the gateway, on a real engine, as root; lists each
	DS01_TEST_REDTEAM=all $(GOTEST) -v -count 1 -timeout 20m -run RedTeam ./internal/e2e/redteam

test-vm: deps ## the whole under systemd and control groups v2, in an emulated machine
	tools/vm-test.sh

lint: bin/golangci-lint ## linters, formatting, go.mod, shell scripts
	bin/golangci-lint run ./...
	bin/golangci-lint fmt --diff ./...
	go mod tidy -diff
	shellcheck $(SCRIPTS)

fmt: bin/golangci-lint ## format the code
	bin/golangci-lint fmt ./...

bin/golangci-lint: tools/go.mod tools/go.sum | deps
	cd tools && go build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

fuzz: deps ## each fuzz target for ten seconds, or FUZZTIME; FUZZ picks by name
	tools/fuzz.sh "$(or $(FUZZTIME),10s)" "$(FUZZ)"

bench: deps ## one table: ds01 against the engine it stands before, in thirteen minutes
	go test -vet=off -run '^$$' -bench . -benchtime 1x -timeout 30m ./internal/e2e/bench

deb: build ## the Debian package, in bin/
	tools/deb.sh

clean: ## remove what was built
	rm -rf bin
