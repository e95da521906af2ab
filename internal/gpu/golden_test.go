package gpu_test

import (
	"errors"
	"regexp"
	"testing"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// The scenarios of the allocator that ds01 replaces, with its answers; where
// they were wrong, fixed says how.
func TestGoldenAllocator(t *testing.T) {
	std, full := standard(), whole(4)
	mix := gpu.Devices([]gpu.Card{card(0), card(1, "1g.10gb", "1g.10gb")})
	student, admin := quota(2, 1, false), unlimited()
	equivalents := func(n quantity.GPUShare, perContainer int) gpu.Quota {
		q := unlimited()
		q.MaxShare, q.MaxPerContainer = quantity.To(n*quantity.FullGPU), quantity.To(perContainer)
		return q
	}
	others := func(devices []gpu.Device, state gpu.State, slots ...string) []gpu.Claim {
		return []gpu.Claim{hold(devices, bob, state, slots...)}
	}
	mine := func(devices []gpu.Device, slots ...string) []gpu.Claim {
		return []gpu.Claim{hold(devices, alice, gpu.Running, slots...)}
	}
	for name, c := range map[string]struct {
		devices []gpu.Device
		claims  []gpu.Claim
		quota   gpu.Quota
		request string // "": 1
		want    string // slots, or the code with its numbers
		fixed   string
	}{
		"empty, a student":                   {devices: std, quota: student, want: "1.0"},
		"1.0 taken":                          {devices: std, claims: others(std, gpu.Running, "1.0"), quota: student, want: "1.1"},
		"1.0 and 1.1 taken":                  {devices: std, claims: others(std, gpu.Running, "1.0", "1.1"), quota: student, want: "1.2"},
		"1.0 held by a stopped container":    {devices: std, claims: others(std, gpu.Held, "1.0"), quota: student, want: "1.1"},
		"2 of 2 held":                        {devices: std, claims: mine(std, "1.0", "1.1"), quota: student, want: "USER_AT_LIMIT 2/2"},
		"1 of 1 held":                        {devices: std, claims: mine(std, "1.0"), quota: quota(1, 1, false), want: "USER_AT_LIMIT 1/1"},
		"a limit of 0":                       {devices: std, quota: quota(0, 1, false), want: "USER_AT_LIMIT 0/0"},
		"all instances taken, a student":     {devices: std, claims: others(std, gpu.Running, instances...), quota: student, want: "NO_GPU_AVAILABLE"},
		"all instances taken, an admin":      {devices: std, claims: others(std, gpu.Running, instances...), quota: admin, want: "0", fixed: "the whole card was never handed out"},
		"whole cards only, a student":        {devices: full, quota: student, want: "FULL_GPU_NOT_ALLOWED", fixed: "it read as if all were taken"},
		"whole cards only, an admin":         {devices: full, quota: admin, want: "0", fixed: "a whole card was never handed out"},
		"card 0 taken, an admin":             {devices: full, claims: others(full, gpu.Running, "0"), quota: admin, want: "1", fixed: "a whole card was never handed out"},
		"both instances taken, an admin":     {devices: mix, claims: others(mix, gpu.Running, "1.0", "1.1"), quota: admin, want: "0", fixed: "a whole card was never handed out"},
		"no GPUs":                            {quota: admin, want: "NO_GPU_AVAILABLE"},
		"two in one container are two":       {devices: std, claims: mine(std, "1.0", "1.1"), quota: quota(2, 2, false), want: "USER_AT_LIMIT 2/2", fixed: "the container counted once"},
		"both devices of another are taken":  {devices: std, claims: others(std, gpu.Running, "1.0", "1.1"), quota: quota(4, 2, false), want: "1.2", fixed: "the second was given away"},
		"instances before cards":             {devices: std, quota: equivalents(2, 2), want: "1.0", fixed: "the whole card went first"},
		"2 of 2 equivalents held":            {devices: full, claims: mine(full, "0", "1"), quota: equivalents(2, 1), want: "AGGREGATE_GPU_QUOTA_EXCEEDED 2+1>2"},
		"all cards taken":                    {devices: full, claims: others(full, gpu.Running, "0", "1", "2", "3"), quota: equivalents(2, 1), want: "NO_GPU_AVAILABLE"},
		"two cards":                          {devices: full, quota: equivalents(2, 2), request: "2", want: "0 1"},
		"three where two are allowed":        {devices: full, quota: equivalents(4, 2), request: "3", want: "EXCEEDS_CONTAINER_LIMIT 3>2"},
		"two beside one, of two equivalents": {devices: full, claims: mine(full, "0"), quota: equivalents(2, 2), request: "2", want: "AGGREGATE_GPU_QUOTA_EXCEEDED 1+2>2"},
		"two beside one, of two devices":     {devices: std, claims: mine(std, "1.0"), quota: quota(2, 2, false), request: "2", want: "EXCEEDS_TOTAL_LIMIT 1+2>2"},
		"two where one is free":              {devices: full, claims: others(full, gpu.Running, "0", "1", "2"), quota: equivalents(2, 2), request: "2", want: "NO_GPU_AVAILABLE"},
		"two instances":                      {devices: std, quota: equivalents(2, 2), request: "2", want: "1.0 1.1", fixed: "the whole card went first"},
		"two sevenths held, of two cards": {
			devices: std, claims: mine(std, "1.0", "1.1"), quota: equivalents(2, 2), want: "1.2", fixed: "a count was compared with a share",
		},
		"numbers, not names": {devices: whole(12), claims: others(whole(12), gpu.Running, "0", "1"), quota: admin, want: "2", fixed: "10 stood before 2"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.request == "" {
				c.request = "1"
			}
			req, err := gpu.ParseRequest(c.request)
			if err != nil {
				t.Fatal(err)
			}
			got, err := gpu.Allocate(gpu.Pool{Devices: c.devices, Claims: c.claims}, alice, req, c.quota)
			if answer := answerOf(got, err); answer != c.want {
				t.Errorf("answers %q, want %q (%s; %v)", answer, c.want, c.fixed, err)
			}
		})
	}
}

var numbers = regexp.MustCompile(`[0-9]+/[0-9]+ devices|[0-9]+(\+[0-9]+)?>[0-9]+`)

// answerOf writes slots, or a code and the numbers behind it, as the allocator did.
func answerOf(got []gpu.Device, err error) string {
	var p *problem.Error
	if !errors.As(err, &p) {
		return slots(got)
	}
	text := numbers.FindString(p.Error())
	if text == "" {
		return p.Code
	}
	return p.Code + " " + regexp.MustCompile(` devices$`).ReplaceAllString(text, "")
}

// Shares of a card, by profile.
func TestGoldenShares(t *testing.T) {
	for name, c := range map[string]struct {
		profile string
		want    string
	}{
		"a whole card": {"", "1"}, "1g.10gb": {"1g.10gb", "1/7"}, "3g.20gb": {"3g.20gb", "3/7"}, "7g.40gb": {"7g.40gb", "1"},
	} {
		var profiles []string
		if c.profile != "" {
			profiles = []string{c.profile}
		}
		if d := gpu.Devices([]gpu.Card{card(3, profiles...)}); d[0].Share.String() != c.want {
			t.Errorf("%s: %s, want %s", name, d[0].Share, c.want)
		}
	}
}
