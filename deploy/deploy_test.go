package deploy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/deploy"
	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
)

func resolve(t *testing.T, file []byte, a account.Account) limits.Limits {
	t.Helper()
	d, warnings, err := limits.Decode(limits.File{Name: "resource-limits.yaml", Data: file}, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("error %v, warnings %v", err, warnings)
	}
	return d.Resolve(a, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
}

func TestDefaultsSayWhatIsBuiltIn(t *testing.T) {
	shipped := resolve(t, deploy.DefaultLimits(), account.Account{Name: "anybody"}).Values()
	for i, builtIn := range resolve(t, nil, account.Account{Name: "anybody"}).Values() {
		if shipped[i].Text != builtIn.Text {
			t.Errorf("%s: the file says %s, built in is %s", builtIn.Key, shipped[i].Text, builtIn.Text)
		}
		if shipped[i].Source.File == "" && builtIn.Key != "max_tasks" { // an older name of aggregate.tasks
			t.Errorf("%s isn't in the file", builtIn.Key)
		}
	}
}

func TestDefaultsLetEverybodyHaveOneDevice(t *testing.T) {
	l := resolve(t, deploy.DefaultLimits(), account.Account{Name: "anybody"})
	if l.Group != "student" || l.MaxDevices != quantity.To(1) || l.MaxGPUsPerContainer != quantity.To(1) ||
		!l.AllowFullGPU || l.MaxGPUShare != quantity.To(quantity.FullGPU) {
		t.Errorf("got %+v", l)
	}
}

func TestDefaultGroups(t *testing.T) {
	tests := map[string]string{"student": "1", "researcher": "2", "faculty": "4", "admin": "unlimited"}
	got := map[string]string{}
	for group := range tests {
		a := account.Account{Name: "x", Groups: []account.Group{{Name: group}, {Name: "student"}}}
		got[group] = resolve(t, deploy.DefaultLimits(), a).Values()[0].Text
	}
	if diff := cmp.Diff(tests, got); diff != "" {
		t.Errorf("max_mig_instances (-want +got):\n%s", diff)
	}
}
