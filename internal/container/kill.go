package container

import (
	"fmt"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// Whose limit of memory a process was ended at.
const (
	LimitOwn    = "container" // the container's own
	LimitPerson = "person"    // that of its owner's containers together
	LimitHost   = "host"      // there was no memory left
	LimitOther  = "other"     // that of a group around people's, which ds01 didn't set
)

// A Kill is the last process of a container that the kernel ended for want of
// memory.
type Kill struct {
	At      time.Time         `json:"at"`
	Limit   string            `json:"limit"` // LimitOwn, …
	Bytes   quantity.ByteSize `json:"bytes"` // the limit that was reached; 0: not known
	Process string            `json:"process"`
	Held    quantity.ByteSize `json:"held"`  // by the process; 0: not known
	Count   int               `json:"count"` // how many were, since somebody has started the container
}

// Why says what happened, of a container by its name.
func (k Kill) Why(name string) string {
	text := fmt.Sprintf("%s in container %s was ended, out of memory: ", k.Process, name)
	if k.Held > 0 {
		text = fmt.Sprintf("%s in container %s, which held %s, was ended, out of memory: ", k.Process, name, k.Held.Rounded())
	}
	switch k.Limit {
	case LimitOwn:
		return text + "the container had reached its own " + k.Bytes.Rounded()
	case LimitPerson:
		return text + "your containers together had reached your " + k.Bytes.Rounded()
	case LimitHost:
		return text + "this host had none left"
	default:
		return text + "a group around people's had reached its " + k.Bytes.Rounded()
	}
}

// Next says what can be done about it.
func (k Kill) Next(name string) string {
	switch k.Limit {
	case LimitOwn:
		return fmt.Sprintf("Use less, or ask for more: 'ds01 container update %s --memory …', up to your limit ('ds01 user limits').", name)
	case LimitPerson:
		return "Use less, or stop a container that you don't need: 'ds01 container stats' shows what each uses."
	default:
		return "Tell your administrators; what was ended may be innocent of it."
	}
}
