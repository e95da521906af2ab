package bench_test

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/rego"
)

// policyTarget is how long the rules may take over a request.
const policyTarget = time.Millisecond

// BenchmarkPolicy times the rules that ship over one request, from what ds01
// has decided to the verdict.
func BenchmarkPolicy(b *testing.B) {
	say("site policy")
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the daemon has it
	rules := examples(b)
	who := account.Account{UID: 1001, Name: "alice", Groups: []account.Group{{GID: 1001, Name: "alice"}, {GID: 2000, Name: "ml-course"}}}
	body := admission.Create{Cmd: admission.Words{"python", "train.py"}, Env: []string{"A=1", "B=2"}, Labels: map[string]string{"a": "b"}}
	facts := policy.Facts{
		Name: "web", Interface: "docker", Image: policy.Named("ghcr.io/lab/train:1", "", false), Devices: []gpu.Device{{Profile: gpu.Full}},
		Mounts: []container.Mount{{Source: "/home/alice/x", Target: "/x"}}, Ports: []port.Port{{Container: 8888, Protocol: port.TCP, Host: 20000}},
		Networks: []string{"bridge"},
	}
	friday := time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)
	var took []time.Duration
	for i := range 5100 {
		began := time.Now()
		in := policy.New(policy.ContainerCreate, who, false, limits.Limits{}, policy.RequestOf(body, facts), friday)
		v, err := rules.Judge(b.Context(), in)
		if err != nil || len(v.Denials) != 0 || len(v.Tightenings) != 1 {
			b.Fatal(v, err)
		}
		if i >= 100 {
			took = append(took, time.Since(began))
		}
	}
	p99 := quantile(took, 0.99)
	results = append(results, row{"site policy, the three examples, one request", p50p99(took), "–", "–", "p99 ≤ " + short(policyTarget), p99 <= policyTarget})
}

// examples are the rules that ship.
func examples(b *testing.B) *rego.Policy {
	b.Helper()
	names, err := filepath.Glob("../../../deploy/policy/examples/*.rego")
	if err != nil || len(names) == 0 {
		b.Fatal(names, err)
	}
	var files []rego.File
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		files = append(files, rego.File{Name: name, Text: text})
	}
	rules, err := rego.Compile(files)
	if err != nil {
		b.Fatal(err)
	}
	return rules
}
