package admission_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/gpu"
)

func TestEveryDoorSpeaksOneGrammar(t *testing.T) {
	ids := func(list string) string {
		return host(`"DeviceRequests":[{"DeviceIDs":[` + list + `],"Capabilities":[["gpu"]]}]`)
	}
	for name, c := range map[string]struct{ body, want string }{
		"--gpus 2":                          {host(`"DeviceRequests":[{"Count":2,"Capabilities":[["gpu"]]}]`), "2"},
		"--gpus all":                        {host(`"DeviceRequests":[{"Count":-1,"Capabilities":[["gpu"]]}]`), "all"},
		"--gpus device=0":                   {ids(`"0"`), "device=0"},
		"--gpus device=0,1":                 {ids(`"0","1"`), "device=0,1"},
		"--gpus device=1:2":                 {ids(`"1:2"`), "1.2"},
		"by UUID":                           {host(`"DeviceRequests":[{"Driver":"nvidia","DeviceIDs":["GPU-b"],"Capabilities":[["gpu"]]}]`), "GPU-b"},
		"by a profile":                      {ids(`"1g.10gb","2x2g.20gb"`), "1g.10gb,2x2g.20gb"},
		"by memory":                         {ids(`"40GiB"`), "40GiB"},
		"all by a word":                     {ids(`"all"`), "all"},
		"by CDI, as clients send it":        {host(`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["ds01.io/gpu=2g.20gb","ds01.io/gpu=full"]}]`), "2g.20gb,full"},
		"by CDI, as some call it a GPU":     {host(`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["ds01.io/gpu=0"],"Capabilities":[["gpu"]]}]`), "device=0"},
		"by CDI, as a device":               {host(`"Devices":[{"PathOnHost":"ds01.io/gpu=2x1g.10gb","PathInContainer":"ds01.io/gpu=2x1g.10gb","CgroupPermissions":"rwm"}]`), "2x1g.10gb"},
		"by CDI, as a device without rest":  {host(`"Devices":[{"PathOnHost":"ds01.io/gpu=mig"},{"PathOnHost":"ds01.io/gpu=full"}]`), "mig,full"},
		"a runtime without a wish, and CDI": {host(`"Runtime":"nvidia","Devices":[{"PathOnHost":"ds01.io/gpu=full"}]`), "full"},
		"no devices":                        {host(`"Devices":[]`), ""},
	} {
		got, err := asked(t, c.body)
		text := ""
		if got.GPU != nil {
			text = got.GPU.String()
		}
		if err != nil || text != c.want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		sent := encode(t, mustReview(t, admission.UserNS, c.body))
		if strings.Contains(sent, "ds01.io") || strings.Contains(sent, "Device") {
			t.Errorf("%s: sent %s", name, sent)
		}
		back := admission.Create{Image: "x", HostConfig: admission.HostConfig{DeviceRequests: admission.GPURequest(got.GPU)}}
		if again, err := back.Ask(); err != nil || !cmp.Equal(again.GPU, got.GPU) {
			t.Errorf("%s: our own request for it is read %+v, %v", name, again.GPU, err)
		}
	}
	mix := gpu.Request{Count: 2, Parts: []gpu.Part{{Count: 1, Profile: gpu.Full}}}
	back := admission.Create{Image: "x", HostConfig: admission.HostConfig{DeviceRequests: admission.GPURequest(&mix)}}
	if again, err := back.Ask(); err != nil || !cmp.Equal(again.GPU, &mix) {
		t.Errorf("a mix is read %+v, %v", again.GPU, err)
	}
}
