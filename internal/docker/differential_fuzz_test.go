package docker_test

import (
	"bytes"
	"encoding/json"
	"math/bits"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/admission"
)

func FuzzCreateAsTheEngineReadsIt(f *testing.F)     { differential(f, createBody()) }
func FuzzUpdateAsTheEngineReadsIt(f *testing.F)     { differential(f, updateBody()) }
func FuzzExecAsTheEngineReadsIt(f *testing.F)       { differential(f, execBody()) }
func FuzzExecStartAsTheEngineReadsIt(f *testing.F)  { differential(f, execStartBody()) }
func FuzzNetworkAsTheEngineReadsIt(f *testing.F)    { differential(f, networkBody()) }
func FuzzConnectAsTheEngineReadsIt(f *testing.F)    { differential(f, connectBody()) }
func FuzzDisconnectAsTheEngineReadsIt(f *testing.F) { differential(f, disconnectBody()) }
func FuzzVolumeAsTheEngineReadsIt(f *testing.F)     { differential(f, volumeBody()) }
func FuzzCommitAsTheEngineReadsIt(f *testing.F)     { differential(f, commitBody()) }
func FuzzLoginAsTheEngineReadsIt(f *testing.F)      { differential(f, loginBody()) }

// differential fuzzes one body, from stock clients' bodies and one for each
// field. The setting chooses the world that the request meets.
func differential(f *testing.F, b body) {
	f.Helper()
	h := newHost(f)
	for _, base := range slices.Concat(b.bases, b.tricks) {
		f.Add([]byte(base), byte(0))
	}
	for i, data := range slices.Concat(clientBodies(f, b.clients), b.tried(1)) {
		f.Add(data, byte(0))
		f.Add(data, byte(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, setting byte) { b.try(t, newWorld(setting, h), data) })
}

// failing is a test of either kind.
type failing interface {
	Helper()
	Fatalf(format string, args ...any)
}

// try has ds01 send a body in a client's place, and the engine's own types read
// it: nothing in it may exceed the policy. It is not sent where ds01 refuses it.
func (b body) try(t failing, w *world, data []byte) (sent bool) {
	t.Helper()
	data, err := b.send(w, data)
	if err != nil {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	read := reflect.New(reflect.TypeOf(b.read))
	if err := dec.Decode(read.Interface()); err != nil {
		t.Fatalf("the engine can't read %s: %v", data, err)
	}
	if why := b.policy(w, read.Interface()).judge("", read.Elem()); why != "" {
		t.Fatalf("%s: %s", why, data)
	}
	return true
}

func TestNoFieldOfTheEngineExceedsThePolicy(t *testing.T) {
	h := newHost(t)
	for _, b := range bodies() {
		t.Run(string(b.op), func(t *testing.T) {
			for _, base := range b.bases {
				if _, err := b.send(newWorld(0, h), []byte(base)); err != nil {
					t.Errorf("%s is refused, so that this tries nothing: %v", base, err)
				}
			}
			for setting := range 1 << 8 {
				if bits.OnesCount(uint(setting)) > 2 {
					continue
				}
				for _, data := range slices.Concat(b.bases, b.tricks) {
					b.try(t, newWorld(byte(setting), h), []byte(data))
				}
			}
			for i, data := range b.tried(all) {
				if b.try(t, newWorld(0, h), data) {
					b.try(t, newWorld(byte(i), h), data)
				}
			}
		})
	}
}

func TestNoFieldsTogetherExceedThePolicy(t *testing.T) {
	h := newHost(t)
	for _, b := range bodies() {
		t.Run(string(b.op), func(t *testing.T) {
			parts := b.parts(t, h)
			rapid.Check(t, func(t *rapid.T) {
				whole := map[string]any{}
				for _, part := range rapid.SliceOfN(rapid.SampledFrom(parts), 1, 8).Draw(t, "parts") {
					whole = merged(whole, part)
				}
				data, err := json.Marshal(whole)
				if err != nil {
					t.Fatal(err)
				}
				b.try(t, newWorld(rapid.Byte().Draw(t, "setting"), h), data)
			})
		})
	}
}

// parts returns bodies that are accepted each by itself, with limits or
// without.
func (b body) parts(t *testing.T, h *host) (parts []map[string]any) {
	t.Helper()
	bodies := b.tried(all)
	for _, whole := range slices.Concat(b.bases, b.tricks) {
		bodies = append(bodies, []byte(whole))
	}
	for _, data := range bodies {
		var part map[string]any
		if b.try(t, newWorld(0, h), data) || b.try(t, newWorld(withoutLimits, h), data) {
			if err := json.Unmarshal(data, &part); err == nil { // no body is one, too
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// clientBodies returns what stock clients send.
func clientBodies(f *testing.F, pattern string) (all [][]byte) {
	f.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 && pattern != "" {
		f.Fatal(pattern, paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

// A route that takes a body has a target here, so that a new one comes with a
// policy.
func TestEveryBodyIsReadAsTheEngineDoes(t *testing.T) {
	tried := map[admission.Op]bool{}
	for _, b := range bodies() {
		tried[b.op] = true
	}
	for _, r := range admission.Routes() {
		if r.Body && !tried[r.Op] {
			t.Errorf("%s %s has a body that no target fuzzes", r.Method, r.Pattern)
		}
	}
}
