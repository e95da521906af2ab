package gpu_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func profile(n int, name string) gpu.Part { return gpu.Part{Count: n, Profile: name} }
func named(device string) gpu.Part        { return gpu.Part{Count: 1, Device: device} }
func memory(n int, gib quantity.ByteSize) gpu.Part {
	return gpu.Part{Count: n, MinMemory: gib << 30}
}
func parts(p ...gpu.Part) gpu.Request { return gpu.Request{Parts: p} }

func TestRequestsAreReadAndWritten(t *testing.T) {
	for text, c := range map[string]struct {
		want gpu.Request
		back string // "": as it was
	}{
		"2":                      {gpu.Request{Count: 2}, ""},
		"any":                    {gpu.Request{Count: 1}, "1"},
		"3xany":                  {gpu.Request{Count: 3}, "3"},
		"all":                    {gpu.Request{All: true}, ""},
		" ALL ":                  {gpu.Request{All: true}, "all"},
		"full":                   {parts(profile(1, "full")), ""},
		"2xfull":                 {parts(profile(2, "full")), ""},
		"mig":                    {parts(profile(1, "mig")), ""},
		"2g.20gb":                {parts(profile(1, "2g.20gb")), ""},
		"1G.10GB+ME":             {parts(profile(1, "1g.10gb+me")), "1g.10gb+me"},
		"1g.12gb+me.all":         {parts(profile(1, "1g.12gb+me.all")), ""},
		"1g.24gb-me":             {parts(profile(1, "1g.24gb-me")), ""},
		"2×1g.10gb":              {parts(profile(2, "1g.10gb")), "2x1g.10gb"},
		"2 X 1g.10gb":            {parts(profile(2, "1g.10gb")), "2x1g.10gb"},
		"1g.10gb,2g.20gb":        {parts(profile(1, "1g.10gb"), profile(1, "2g.20gb")), ""},
		"1g.10gb, full, 1g.10gb": {parts(profile(2, "1g.10gb"), profile(1, "full")), "2x1g.10gb,full"},
		"40GiB":                  {parts(memory(1, 40)), ""},
		"2x40gb":                 {parts(memory(2, 40)), "2x40GiB"},
		"1.5gib":                 {parts(gpu.Part{Count: 1, MinMemory: 3 << 29}), "1.5GiB"},
		"1.2":                    {parts(named("1.2")), ""},
		"1:2":                    {parts(named("1.2")), "1.2"},
		"GPU-a1b2":               {parts(named("GPU-a1b2")), ""},
		"MIG-GPU-a1/7/0":         {parts(named("MIG-GPU-a1/7/0")), ""},
		"device=0":               {parts(named("0")), ""},
		"device=0,1.2,2x1g.10gb": {parts(named("0"), named("1.2"), profile(2, "1g.10gb")), ""},
		"device=full":            {parts(profile(1, "full")), "full"},
		"device=all":             {gpu.Request{All: true}, "all"},
		"device=0,2xany":         {gpu.Request{Count: 2, Parts: []gpu.Part{named("0")}}, "device=2xany,0"},
		"2g.20gb,2":              {gpu.Request{Count: 2, Parts: []gpu.Part{profile(1, "2g.20gb")}}, "2,2g.20gb"},
		"1024":                   {gpu.Request{Count: 1024}, ""},
	} {
		got, err := gpu.ParseRequest(text)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%q: %s, %v", text, diff, err)
		}
		if c.back == "" {
			c.back = text
		}
		if got.String() != c.back {
			t.Errorf("%q is written %q", text, got.String())
		}
	}
}

func TestRequestsThatMeanNothing(t *testing.T) {
	for _, text := range []string{
		"", ",", "0", "-1", "1,", "1025", "1000,25", "1000xfull,25xmig", "99999999999999999999", "0xfull", "allx2", "all,1", "2xall", "full2", "fulll",
		"2g", "40g", "0.gb", "0GiB", "0g.10gb", "1g.0gb", "1g.10gb+", "1g.10gb+me;x", "2x1.2", "2xGPU-a", "1.2,1.2", "1.2,1:2", "01.2", "1.02", "1.2.3",
		"GPU-", "gpu-a", "GPU-a b", "/dev/nvidia0", "nvidia.com/gpu=all", "device=", "device=0,0", "device=-1", "device=device=0", "2*full", "½", "2×", "x2", "-1GiB",
		"GPU-" + strings.Repeat("a", 200),
	} {
		r, err := gpu.ParseRequest(text)
		var p *problem.Error
		if !errors.Is(err, problem.ErrInvalid) || !errors.As(err, &p) || p.What == "" || p.Next == "" || p.Code != "GPU_REQUEST_INVALID" {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
		if diff := cmp.Diff(gpu.Request{}, r); diff != "" {
			t.Errorf("%q: an error beside %s", text, diff)
		}
	}
}

func TestAListOfNothingIsNoRequest(t *testing.T) {
	if r, err := gpu.ParseDevices(nil); !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("%+v, %v", r, err)
	}
}

// drawParts is a request as ParseRequest could return it.
func drawParts(t *rapid.T) gpu.Request {
	r := gpu.Request{Count: rapid.IntRange(0, 2).Draw(t, "any")}
	for _, kind := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
		"full", "mig", "1g.10gb", "2g.20gb", "3g.40gb", "15GiB", "35GiB", "80GiB",
	}), 0, 3, func(k string) string { return k }).Draw(t, "kinds") {
		p := gpu.Part{Count: rapid.IntRange(1, 2).Draw(t, "count"), Profile: kind}
		if size, err := quantity.ParseByteSize(kind); err == nil {
			p.Profile, p.MinMemory = "", size
		}
		r.Parts = append(r.Parts, p)
	}
	for _, d := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"0", "1.0", "1.1", "2", "GPU-c"}), 0, 2, func(d string) string { return d }).Draw(t, "named") {
		r.Parts = append(r.Parts, named(d))
	}
	if r.Devices() == 0 {
		r.Count = 1
	}
	return r
}

func TestARequestReadsBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawParts(t)
		for _, read := range []func() (gpu.Request, error){
			func() (gpu.Request, error) { return gpu.ParseRequest(r.String()) },
			func() (gpu.Request, error) { return gpu.ParseDevices(r.DeviceIDs()) },
		} {
			if back, err := read(); err != nil || !cmp.Equal(r, back) {
				t.Fatalf("%+v is written %q %q and read %+v, %v", r, r.String(), r.DeviceIDs(), back, err)
			}
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{"2", "all", "2×1g.10gb,full", "device=0,1.2", "40GiB,mig", "GPU-a,1:2", "any,1g.10gb+me", "1.25b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := gpu.ParseRequest(s)
		if err != nil {
			return
		}
		back, err := gpu.ParseRequest(r.String())
		if err != nil || !cmp.Equal(r, back) || !r.All && (r.Devices() < 1 || r.Devices() > 1024) {
			t.Errorf("%q is %+v, written %q, read %+v, %v", s, r, r.String(), back, err)
		}
	})
}
