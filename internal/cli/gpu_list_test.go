package cli_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client/clienttest"
)

func TestTheListNamesProcessesThatNoClaimExplains(t *testing.T) {
	stray := []apitype.Process{{PID: 4711, User: "bob", Command: "python3"}}
	half := apitype.GPU{GPUUsage: apitype.GPUUsage{Slot: "0.0"}, Profile: "3g.40gb", Share: 0.4, Strangers: stray}
	held := apitype.GPU{
		GPUUsage: apitype.GPUUsage{Slot: "0.1"}, Profile: "3g.40gb", Share: 0.4, Strangers: stray,
		Holder: &apitype.Holder{User: "alice", Container: "train", State: "running"},
	}
	_, out, _ := run(t.Context(), t, &clienttest.Fake{GPUs: []apitype.GPU{half, held}}, "ds01", "gpu", "list")
	for _, want := range []string{"|0.0 !!!", "no claim: process 4711 (python3) of bob", "alice (train); no claim: process 4711"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
