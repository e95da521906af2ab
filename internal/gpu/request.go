package gpu

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// A Request says which devices one container wants. The zero Request asks for
// nothing, which isn't granted: who wants no device makes no request.
type Request struct {
	All   bool   // as many as the quota allows; Count and Parts are ignored
	Count int    // so many of any kind, beside the parts
	Parts []Part // in the order the container is to have them, after those of any kind
}

// A Part of a request asks for devices that are alike. One of Profile,
// MinMemory and Device says how.
type Part struct {
	Count     int               // at least 1
	Profile   string            // Full, AnyInstance, or a MIG profile such as "2g.20gb"
	MinMemory quantity.ByteSize // single devices, each with at least so much
	Device    string            // this one, by its slot or UUID; Count is 1
}

// AnyInstance is the Profile of a Part that takes MIG instances of any kind.
const AnyInstance = "mig"

const (
	anyDevice   = "any"
	devicesWord = "device="
	// mostDevices bounds what one request may ask for: more than any host has.
	mostDevices = 1024
)

var (
	multiple    = regexp.MustCompile(`^([0-9]+) ?[x×] ?(.+)$`)
	number      = regexp.MustCompile(`^[0-9]+$`)
	profileName = regexp.MustCompile(`^[1-9][0-9]?g\.[1-9][0-9]{0,3}gb([+-][a-z]+(\.[a-z]+)*)*$`)
	slotName    = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})([.:](0|[1-9][0-9]{0,3}))?$`)
	uuidName    = regexp.MustCompile(`^(GPU|MIG)-[0-9A-Za-z/-]{1,100}$`)
)

// ParseRequest reads what a person asks of GPUs: "2" (of any kind), "all",
// "full", "mig" (any instance), "2g.20gb" (a MIG profile), "40GiB" (the
// smallest single device with at least so much memory), "1.2" or a UUID (that
// device), any of them several times ("2x1g.10gb", also with ×), and several
// of them with commas between. Behind "device=", as in docker's
// --gpus device=0,1, a bare number is the slot of a whole card and not a
// count. Case matters in UUIDs only. Errors are of kind problem.ErrInvalid.
func ParseRequest(text string) (Request, error) {
	if rest, ok := strings.CutPrefix(strings.TrimSpace(text), devicesWord); ok {
		return ParseDevices(strings.Split(rest, ","))
	}
	return parse(strings.Split(text, ","), false)
}

// ParseDevices reads a list as ParseRequest does behind "device=": the
// device IDs of Docker's device requests.
func ParseDevices(ids []string) (Request, error) { return parse(ids, true) }

func parse(words []string, slots bool) (r Request, err error) {
	if len(words) == 0 {
		return r, notUnderstood("it names nothing")
	}
	if len(words) == 1 && strings.EqualFold(strings.TrimSpace(words[0]), "all") {
		return Request{All: true}, nil
	}
	for _, w := range words {
		n, p, err := parsePart(strings.TrimSpace(w), slots)
		if err != nil {
			return Request{}, err
		}
		if r.Devices()+n+p.Count > mostDevices {
			return Request{}, notUnderstood(fmt.Sprintf("it asks for more than %d devices", mostDevices))
		}
		r.Count += n
		if p.Count > 0 {
			r.add(p)
		}
	}
	if d := r.namedTwice(); d != "" {
		return Request{}, notUnderstood("device " + d + " is named twice")
	}
	return r, nil
}

// add lays a part behind the others, or into one that asks for the same.
func (r *Request) add(p Part) {
	for i := range r.Parts {
		if have := &r.Parts[i]; p.Device == "" && have.alike(p) {
			have.Count += p.Count
			return
		}
	}
	r.Parts = append(r.Parts, p)
}

func (p Part) alike(o Part) bool {
	p.Count, o.Count = 0, 0
	return p == o
}

func (r Request) namedTwice() string {
	for i, p := range r.Parts {
		if p.Device != "" && slices.ContainsFunc(r.Parts[:i], p.alike) {
			return p.Device
		}
	}
	return ""
}

// parsePart reads one word: so many devices of any kind, or a part.
func parsePart(word string, slots bool) (of int, p Part, err error) {
	count, kind := 1, word
	if number.MatchString(word) && !slots {
		count, err = parseCount(word)
		return count, p, err
	}
	if m := multiple.FindStringSubmatch(strings.ToLower(word)); m != nil {
		if count, err = parseCount(m[1]); err != nil {
			return 0, p, err
		}
		kind = m[2]
	}
	if strings.EqualFold(kind, anyDevice) {
		return count, p, nil
	}
	p, ok := parseKind(kind)
	switch {
	case !ok:
		return 0, p, notUnderstood(fmt.Sprintf("%q is none of a number, all, full, mig, a MIG profile, a size of memory, a slot and a UUID", word))
	case p.Device != "" && kind != word:
		return 0, p, notUnderstood(fmt.Sprintf("%q: one device can't be had several times", word))
	}
	p.Count = count
	return 0, p, nil
}

func parseCount(digits string) (int, error) {
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > mostDevices {
		return 0, notUnderstood(digits + " devices can't be granted")
	}
	return n, nil
}

// parseKind reads what stands behind the count. A size needs its unit with a
// "b": "40g" could be either of two things.
func parseKind(kind string) (Part, bool) {
	low := strings.ToLower(kind)
	switch {
	case low == Full || low == AnyInstance || profileName.MatchString(low):
		return Part{Profile: low}, true
	case slotName.MatchString(kind):
		return Part{Device: strings.Replace(kind, ":", ".", 1)}, true
	case uuidName.MatchString(kind):
		return Part{Device: kind}, true
	case !strings.HasSuffix(low, "b"):
		return Part{}, false
	}
	size, err := quantity.ParseByteSize(low)
	return Part{MinMemory: size}, err == nil && size > 0
}

func notUnderstood(why string) error {
	return &problem.Error{
		What: "GPU request not understood",
		Why:  problem.Because(problem.ErrInvalid, why),
		Next: "Write a number, all, full, mig, a profile ('ds01 gpu list' shows them), a size such as 40GiB, or a mix such as 2x1g.10gb,2g.20gb.",
		Code: "GPU_REQUEST_INVALID",
	}
}

// Devices returns how many devices the request is for, 0 when All.
func (r Request) Devices() int {
	n := r.Count
	for _, p := range r.Parts {
		n += p.Count
	}
	return n
}

// String returns the request as ParseRequest reads it, "2x1g.10gb,full". One
// that names a whole card by its slot begins with "device=".
func (r Request) String() string {
	if r.All {
		return "all"
	}
	if slices.ContainsFunc(r.Parts, func(p Part) bool { return number.MatchString(p.Device) }) {
		return devicesWord + strings.Join(r.DeviceIDs(), ",")
	}
	words := make([]string, 0, len(r.Parts)+1)
	if r.Count > 0 || len(r.Parts) == 0 {
		words = append(words, strconv.Itoa(r.Count))
	}
	for _, p := range r.Parts {
		words = append(words, p.String())
	}
	return strings.Join(words, ",")
}

// DeviceIDs returns the request as ParseDevices reads it.
func (r Request) DeviceIDs() []string {
	if r.All {
		return []string{"all"}
	}
	var ids []string
	if r.Count > 0 {
		ids = append(ids, times(r.Count, anyDevice))
	}
	for _, p := range r.Parts {
		ids = append(ids, p.String())
	}
	return ids
}

// String returns the part as it stands in a request, "2x1g.10gb".
func (p Part) String() string { return times(p.Count, p.kind()) }

func (p Part) kind() string {
	switch {
	case p.Device != "":
		return p.Device
	case p.MinMemory > 0:
		return p.MinMemory.String()
	}
	return p.Profile
}

func times(n int, kind string) string {
	if n == 1 {
		return kind
	}
	return strconv.Itoa(n) + "x" + kind
}

// takes reports whether d is what the part asks for.
func (p Part) takes(d *Device) bool {
	switch {
	case p.Device != "":
		return p.Device == d.UUID || p.Device == d.Slot
	case p.MinMemory > 0:
		return d.MemoryBytes >= int64(p.MinMemory)
	case p.Profile == AnyInstance:
		return d.Profile != Full
	}
	return p.Profile == "" || p.Profile == d.Profile
}

// mayTake reports whether the request could be granted d.
func (r Request) mayTake(d *Device) bool {
	return r.All || r.Count > 0 || slices.ContainsFunc(r.Parts, func(p Part) bool { return p.takes(d) })
}
