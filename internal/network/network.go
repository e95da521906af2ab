// Package network decides what a person's network is called at the engine and
// which addresses it gets.
package network

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"ds01.dev/ds01/internal/account"
)

// A Record is ds01's own record of one network. The record, not the engine's
// labels, says whose it is.
type Record struct {
	UID        int
	Name       string // as the owner calls it; Bridge for their default network
	EngineName string
	ID         string       // at the engine, "" while it is being made
	Subnet     netip.Prefix // from ds01's own pool
	Default    bool         // the one that containers are in that ask for none
	CreatedAt  time.Time
}

// Names of networks that every engine has.
const (
	Bridge  = "bridge"
	Default = "default" // another word for Bridge
	None    = "none"
	Host    = "host"
)

// Predefined reports whether nobody may make a network of that name.
func Predefined(name string) bool {
	return slices.Contains([]string{Bridge, Default, None, Host}, name)
}

// DefaultOf returns the name at the engine of the network that uid's
// containers are in when they ask for none. It can't meet another's: nobody
// may call a network "default".
func DefaultOf(uid int) string { return account.EngineName(Default, uid) }

// A Spec is a network as the engine is asked to make it.
type Spec struct {
	Name     string
	Subnet   netip.Prefix
	Internal bool // without a way out of the host
	Options  map[string]string
	Labels   map[string]string
}

// Observed is a network as the engine shows it.
type Observed struct {
	ID      string
	Name    string
	Subnets []netip.Prefix
}

// Free returns the first subnet in the pool, with a prefix of so many bits, that overlaps none of
// taken; ok is false where there is none.
func Free(pool netip.Prefix, bits int, taken []netip.Prefix) (subnet netip.Prefix, ok bool) {
	pool = pool.Masked()
	step := uint32(1) << (32 - bits)
	for start := number(pool.Addr()); ; start += step {
		subnet = netip.PrefixFrom(address(start), bits)
		if !pool.Contains(subnet.Addr()) {
			return netip.Prefix{}, false
		}
		if !slices.ContainsFunc(taken, subnet.Overlaps) {
			return subnet, true
		}
		if start > ^uint32(0)-step {
			return netip.Prefix{}, false // the end of all addresses
		}
	}
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}
