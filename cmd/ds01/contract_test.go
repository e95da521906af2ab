package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/api"
	"ds01.dev/ds01/internal/cli"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/label"
)

var update = flag.Bool("update", false, "write the page anew")

const page = "../../docs/developers/contract.md"

// TestTheContractPageListsEveryName keeps the names that others depend on from
// changing unnoticed.
func TestTheContractPageListsEveryName(t *testing.T) {
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), "```text\n")
	written, after, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("the page has no list of names")
	}
	want := names()
	if *update {
		if err := os.WriteFile(page, []byte(before+"```text\n"+want+"```"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if written != want {
		t.Errorf("the page differs from the code:\n--- page\n%s\n--- code\n%s", written, want)
	}
}

func names() string {
	var b strings.Builder
	c, p := config.Default(), config.PathsUnder("")
	p = p.Sockets(c, "")
	fmt.Fprintln(&b, "paths")
	for _, path := range []string{p.Config, p.Limits, p.Members, p.Database, p.APISocket, p.DeviceNodes, p.Mounts, p.Doors, p.Engine, p.Gateway, p.Audit} {
		fmt.Fprintln(&b, "  "+path)
	}
	fmt.Fprintf(&b, "groups\n  %s\n  %s\n  %s\n  %s\n", c.Groups.Docker, c.Groups.GPU, c.Groups.Priority, c.Groups.Admin)
	fmt.Fprintln(&b, "labels")
	for _, key := range label.Keys() {
		fmt.Fprintln(&b, "  "+key)
	}
	fmt.Fprintln(&b, "names of the binary")
	for _, link := range cli.Links() {
		fmt.Fprintln(&b, "  "+link)
	}
	fmt.Fprintln(&b, "routes of the API")
	for _, r := range api.Routes() {
		fmt.Fprintf(&b, "  %s %s\n", r.Method, r.Path)
	}
	fmt.Fprintln(&b, "routes of the Docker API")
	for _, r := range admission.Routes() {
		if r.Op != "" { // what is refused is no promise
			fmt.Fprintf(&b, "  %s %s\n", r.Method, r.Pattern)
		}
	}
	return b.String()
}
