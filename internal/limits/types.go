package limits

import (
	"cmp"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// A Type bounds the containers that were made by one kind of client. It makes a
// person's own limits stricter and never wider: what a container was made by, its
// client says.
type Type struct {
	MaxRuntime  quantity.Limit[time.Duration] // container_types.TYPE.max_runtime
	IdleTimeout quantity.Limit[time.Duration] // container_types.TYPE.idle_timeout
	StopTimeout quantity.Limit[time.Duration] // container_types.TYPE.stop_timeout
}

// typeKeys lists the limits that a type may set.
func typeKeys() []string { return []string{"idle_timeout", "max_runtime", "stop_timeout"} }

func typeOf(l *layer) Type {
	of := func(id keyID) quantity.Limit[time.Duration] {
		if !l[id].set {
			return quantity.None[time.Duration]()
		}
		return number[time.Duration](l, id)
	}
	return Type{MaxRuntime: of(maxRuntime), IdleTimeout: of(idleTimeout), StopTimeout: of(stopTimeout)}
}

// Type returns what bounds containers of a kind, such as "devcontainer"; "" is
// "unknown".
func (d *Document) Type(kind string) Type {
	if t, ok := d.types[cmp.Or(kind, "unknown")]; ok {
		return t
	}
	none := quantity.None[time.Duration]()
	return Type{none, none, none}
}

// Within returns the limits with those that a type has too no wider than its. Those
// for containers without a GPU are their own.
func (l Limits) Within(t Type) Limits {
	l.MaxRuntime = stricter(l.MaxRuntime, t.MaxRuntime)
	l.IdleTimeout = stricter(l.IdleTimeout, t.IdleTimeout)
	l.StopTimeout = stricter(l.StopTimeout, t.StopTimeout)
	return l
}

// stricter returns the smaller of two limits.
func stricter[T cmp.Ordered](a, b quantity.Limit[T]) quantity.Limit[T] {
	if a.Unlimited || !b.Unlimited && b.Value < a.Value {
		return b
	}
	return a
}
