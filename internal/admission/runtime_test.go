package admission_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

func asked(t *testing.T, body string) (admission.Ask, error) {
	t.Helper()
	c, err := admission.DecodeCreate([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return c.Ask()
}

func withRuntime(runtime, env, more string) string {
	return `{"Image":"x","Env":[` + env + `],"HostConfig":{"Runtime":"` + runtime + `"` + more + `}}`
}

const gpus = `,"DeviceRequests":[{"Count":2,"Capabilities":[["gpu"]]}]`

func TestTheNvidiaRuntimeAsksForGPUs(t *testing.T) {
	const variable = "NVIDIA_VISIBLE_DEVICES="
	for name, c := range map[string]struct {
		body string
		want *gpu.Request
	}{
		"all":                          {withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=all"`, ""), &gpu.Request{All: true}},
		"one by its number":            {withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=3"`, ""), &gpu.Request{Count: 1}},
		"two by their numbers":         {withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=0,1"`, ""), &gpu.Request{Count: 2}},
		"one, said twice":              {withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=1,1"`, ""), &gpu.Request{Count: 1}},
		"by UUIDs":                     {withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=GPU-ab12,MIG-GPU-ab12/1/0,0:1"`, ""), &gpu.Request{Count: 3}},
		"the last of two variables":    {withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=all","NVIDIA_VISIBLE_DEVICES=0"`, ""), &gpu.Request{Count: 1}},
		"none":                         {withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=none"`, ""), nil},
		"void":                         {withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=void"`, ""), nil},
		"empty":                        {withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES="`, ""), nil},
		"no variable":                  {withRuntime("nvidia", `"A=b"`, ""), nil},
		"none beside a number":         {withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=void"`, gpus), &gpu.Request{Count: 2}},
		"a number beside the runtime":  {withRuntime("nvidia", ``, gpus), &gpu.Request{Count: 2}},
		"without the runtime":          {withRuntime("", `"NVIDIA_VISIBLE_DEVICES=all","CUDA_VISIBLE_DEVICES=0"`, ""), nil},
		"with the engine's own":        {withRuntime("runc", `"NVIDIA_VISIBLE_DEVICES=all"`, ""), nil},
		"a variable without the other": {withRuntime("", `"NVIDIA_VISIBLE_DEVICES=all"`, gpus), &gpu.Request{Count: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := asked(t, c.body)
			if err != nil || (got.GPU == nil) != (c.want == nil) || !cmp.Equal(got.GPU, c.want) {
				t.Fatalf("got %+v, %v", got.GPU, err)
			}
			if asksInVain := c.want == nil && strings.Contains(c.body, `"Runtime":"nvidia"`); asksInVain != (len(got.Notes) > 0) {
				t.Errorf("notes %q", got.Notes)
			}
			sent := encode(t, mustReview(t, admission.UserNS, c.body))
			if strings.Contains(sent, "Runtime") || !strings.Contains(sent, variable+"void") || strings.Count(sent, variable) != 1 || strings.Contains(sent, "CUDA_V") {
				t.Errorf("sent %s", sent)
			}
		})
	}
	for name, body := range map[string]string{
		"asked for twice":       withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=all"`, gpus),
		"all and one":           withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=all,0"`, ""),
		"an empty part":         withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=0,"`, ""),
		"what is no device":     withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=/dev/nvidia0"`, ""),
		"the name of a device":  withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=all"`, ""),
		"less than the first":   withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=-1"`, ""),
		"blanks around a comma": withRuntime("nvidia", `"NVIDIA_VISIBLE_DEVICES=0, 1"`, ""),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := asked(t, body)
			wantProblem(t, err, problem.ErrInvalid, "")
		})
	}
}

// reviewOf reviews a request of these variables, made of an image with those.
func reviewOf(t *testing.T, libraries string, devices []gpu.Device, env, image []string) (admission.Create, error) {
	t.Helper()
	g := admission.Grant{Labels: ours(), Libraries: libraries, NodeFolder: "/run/ds01/dev", CgroupParent: "/ds01/u1001", ImageEnv: image, Devices: devices}
	return admission.Review(admission.Create{Image: "x", Env: env}, subject(t, admission.UserNS), g)
}

// envOf is the environment that the engine makes of an image's and ours: a
// name without a value takes a variable away.
func envOf(image, sent []string) (env []string) {
	named := map[string]bool{}
	for _, e := range sent {
		name, _, valued := strings.Cut(e, "=")
		named[name] = true
		if valued {
			env = append(env, e)
		}
	}
	for _, e := range image {
		if name, _, _ := strings.Cut(e, "="); !named[name] {
			env = append(env, e)
		}
	}
	slices.Sort(env)
	return env
}

func TestNoVariableOfAnImageSelectsADevice(t *testing.T) {
	image := []string{
		"PATH=/bin", "NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all", "NVIDIA_MIG_CONFIG_DEVICES=all", "NVIDIA_MIG_MONITOR_DEVICES=all",
		"NVIDIA_IMEX_CHANNELS=0,1", "NVIDIA_DISABLE_REQUIRE=1", "NVIDIA_GDS=enabled", "NVIDIA_OF_THE_FUTURE=all", "CUDA_VISIBLE_DEVICES=0",
		"NVIDIA_REQUIRE_CUDA=cuda>=12", "NVIDIA_PYTORCH_VERSION=24.01", "NVIDIA_PRODUCT_NAME=PyTorch", "CUDA_HOME=/usr/local/cuda",
		"LD_PRELOAD=/evil.so", "LD_AUDIT=/evil.so", "LD_LIBRARY_PATH=/usr/local/nvidia/lib:/home/alice/lib::relative:/opt/x:/usr/../home/alice",
	}
	harmless := []string{"CUDA_HOME=/usr/local/cuda", "NVIDIA_PRODUCT_NAME=PyTorch", "NVIDIA_PYTORCH_VERSION=24.01", "NVIDIA_REQUIRE_CUDA=cuda>=12", "PATH=/bin"}
	loader := image[len(image)-3:]
	for name, c := range map[string]struct {
		libraries string
		devices   []gpu.Device
		want      []string
	}{
		"without a GPU":     {admission.LibrariesHook, nil, append([]string{"NVIDIA_VISIBLE_DEVICES=void"}, loader...)},
		"with nodes only":   {admission.LibrariesNone, devices(), append([]string{"NVIDIA_VISIBLE_DEVICES=void"}, loader...)},
		"libraries by CDI":  {admission.LibrariesCDI, devices(), []string{"NVIDIA_VISIBLE_DEVICES=void", "LD_LIBRARY_PATH=/usr/local/nvidia/lib:/opt/x"}},
		"libraries by hook": {admission.LibrariesHook, devices(), []string{"NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b", "LD_LIBRARY_PATH=/usr/local/nvidia/lib:/opt/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := reviewOf(t, c.libraries, c.devices, nil, image)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Sorted(slices.Values(append(slices.Clone(harmless), c.want...)))
			if env := envOf(image, got.Env); !slices.Equal(env, want) {
				t.Errorf("the container has %q", env)
			}
		})
	}
}

func TestTheLoadersVariablesBesideAGPU(t *testing.T) {
	for _, e := range []string{"LD_PRELOAD=/usr/lib/x.so", "LD_AUDIT=x", "LD_LIBRARY_PATH=/home/alice/lib", "LD_LIBRARY_PATH=/usr/lib:", "LD_LIBRARY_PATH=lib"} {
		_, err := reviewOf(t, admission.LibrariesHook, devices(), []string{e}, nil)
		wantProblem(t, err, problem.ErrDenied, "runs as root on the host")
		if got, err := reviewOf(t, admission.LibrariesNone, devices(), []string{e}, []string{"LD_PRELOAD=/image.so"}); err != nil || !slices.Contains(got.Env, e) {
			t.Errorf("%s, where no hook runs: %q, %v", e, got.Env, err)
		}
	}
	got, err := reviewOf(t, admission.LibrariesCDI, devices(), []string{"LD_LIBRARY_PATH=/usr/local/cuda/lib64:/opt/x"}, []string{"LD_LIBRARY_PATH=/home"})
	if err != nil || !slices.Contains(got.Env, "LD_LIBRARY_PATH=/usr/local/cuda/lib64:/opt/x") || len(got.Env) != 2 {
		t.Errorf("%q, %v", got.Env, err)
	}
}

func TestRestartPolicies(t *testing.T) {
	for text, want := range map[string]container.RestartPolicy{
		`{}`:                                {},
		`{"Name":"no"}`:                     {Name: "no"},
		`{"Name":"always"}`:                 {Name: "always"},
		`{"Name":"unless-stopped"}`:         {Name: "unless-stopped"},
		`{"Name":"on-failure"}`:             {Name: "on-failure"},
		`{"Name":"","MaximumRetryCount":9}`: {},
		`{"Name":"on-failure","MaximumRetryCount":3}`: {Name: "on-failure", MaxRetries: 3},
	} {
		body := host(`"RestartPolicy":` + text)
		if got, err := asked(t, body); err != nil || got.Restart != want {
			t.Errorf("%s: %+v, %v", text, got.Restart, err)
		}
		if got := mustReview(t, admission.UserNS, body).HostConfig.RestartPolicy; got != (admission.RestartPolicy{Name: "no"}) {
			t.Errorf("%s: the engine gets %+v", text, got)
		}
	}
	for name, fields := range map[string]string{
		"a policy nobody knows":      `"RestartPolicy":{"Name":"sometimes"}`,
		"a count without failures":   `"RestartPolicy":{"Name":"always","MaximumRetryCount":3}`,
		"a count below nothing":      `"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":-1}`,
		"removed, and started again": `"AutoRemove":true,"RestartPolicy":{"Name":"always"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := asked(t, host(fields))
			wantProblem(t, err, problem.ErrInvalid, "")
		})
	}
	if _, err := asked(t, host(`"AutoRemove":true,"RestartPolicy":{"Name":"no"}`)); err != nil {
		t.Error(err)
	}
}
