// Package port decides which of the host's ports a container publishes. Each
// person has a range of their own, so that two people never want the same.
package port

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
)

// Protocols that can be published.
const (
	TCP = "tcp"
	UDP = "udp"
)

// A Range is every port from First to Last, both included.
type Range struct{ First, Last int }

// ParseRange reads "20000-59999" or "20000". Only ports that need no
// privilege, from 1024 on, make a range.
func ParseRange(text string) (Range, error) {
	first, last, two := strings.Cut(text, "-")
	if !two {
		last = first
	}
	r := Range{First: number(first), Last: number(last)}
	if r.First < 1024 || r.Last > 65535 || r.First > r.Last {
		return Range{}, fmt.Errorf("%q is no range of ports within 1024-65535", text)
	}
	return r, nil
}

// number returns a port's number, -1 for what is none.
func number(text string) int {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// String returns "First-Last".
func (r Range) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Has reports whether the port lies in the range.
func (r Range) Has(port int) bool { return r.First <= port && port <= r.Last }

// Slots returns how many ranges of size ports there are in r.
func (r Range) Slots(size int) int { return (r.Last - r.First + 1) / size }

// Slot returns the slot's range of size ports, counted from 0.
func (r Range) Slot(slot, size int) Range {
	first := r.First + slot*size
	return Range{First: first, Last: first + size - 1}
}

// A Policy is which ports and addresses of the host a person may use.
type Policy struct {
	Own       Range
	Addresses []string // the first is used where none is asked for
}

// An Ask is one port of a container that is to be published.
type Ask struct {
	Container int    // 1 to 65535
	Protocol  string // TCP or UDP
	Address   string // of the host, "" for any that the policy allows
	Host      Range  // one port of it; zero for any
}

// A Port is one port of a container, published at the host.
type Port struct {
	Address   string
	Protocol  string
	Host      int
	Container int
}

// Check refuses a port that the policy doesn't allow, with an error of kind
// problem.ErrDenied.
func (p Policy) Check(what string, one Port) error {
	if !slices.Contains(p.Addresses, one.Address) {
		return denied(what, fmt.Sprintf("ports aren't published at %s on this host", one.Address),
			fmt.Sprintf("Leave the address away; %s may be used.", strings.Join(p.Addresses, " and ")))
	}
	if !p.Own.Has(one.Host) {
		return denied(what, fmt.Sprintf("port %d of the host isn't one of yours", one.Host), fmt.Sprintf(
			"Yours are %s: write -p %d:%d, or -p %d to have one chosen.", p.Own, p.Own.First, one.Container, one.Container))
	}
	return nil
}

// Assign gives every ask a port of the host, in their order. taken reports
// whether a container publishes a port already. Errors are of kind
// problem.ErrDenied (not the person's to use), ErrConflict (taken by
// themselves) or ErrExhausted.
func Assign(what string, asks []Ask, p Policy, taken func(protocol string, host int) bool) ([]Port, error) {
	ports := make([]Port, len(asks))
	given := map[string]bool{}
	free := func(protocol string, host int) bool {
		return !taken(protocol, host) && !given[protocol+strconv.Itoa(host)]
	}
	for _, chosen := range []bool{true, false} { // what is chosen for a person leaves what they choose free
		for i, a := range asks {
			if (a.Host.First == a.Host.Last && a.Host.First != 0) != chosen {
				continue
			}
			one, err := p.pick(what, a, free)
			if err != nil {
				return nil, err
			}
			ports[i] = one
			given[one.Protocol+strconv.Itoa(one.Host)] = true
		}
	}
	return ports, nil
}

// pick returns the first free port that an ask allows.
func (p Policy) pick(what string, a Ask, free func(string, int) bool) (Port, error) {
	one := Port{Address: a.Address, Protocol: a.Protocol, Host: a.Host.First, Container: a.Container}
	if one.Address == "" {
		one.Address = p.Addresses[0]
	}
	within := a.Host
	if within == (Range{}) {
		within, one.Host = p.Own, p.Own.First
	}
	for _, end := range []int{within.Last, within.First} {
		one.Host = end
		if err := p.Check(what, one); err != nil {
			return Port{}, err
		}
	}
	for ; one.Host <= within.Last; one.Host++ {
		if free(one.Protocol, one.Host) {
			return one, nil
		}
	}
	if within.First == within.Last {
		return Port{}, refuse(problem.ErrConflict, what, fmt.Sprintf("port %d/%s of the host is taken by a container already", within.First, a.Protocol),
			fmt.Sprintf("Write -p %d to have a free one chosen; 'docker ps -a' shows what yours publish.", a.Container))
	}
	return Port{}, refuse(problem.ErrExhausted, what, fmt.Sprintf("all ports of %s are taken by your containers", within),
		"Remove a container that publishes ports: 'docker ps -a' shows them.")
}

func denied(what, why, next string) error { return refuse(problem.ErrDenied, what, why, next) }

func refuse(kind error, what, why, next string) error {
	return &problem.Error{What: what, Why: problem.Because(kind, why), Next: next}
}
