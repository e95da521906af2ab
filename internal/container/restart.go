package container

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Restart policies, as Docker names them. "" is as RestartNo.
const (
	RestartNo            = "no"
	RestartAlways        = "always"
	RestartUnlessStopped = "unless-stopped"
	RestartOnFailure     = "on-failure"
)

// A RestartPolicy is what a container's owner wishes to happen when it ends by
// itself. The engine is never told: ds01 starts the container again.
type RestartPolicy struct {
	Name       string `json:"name,omitempty"`
	MaxRetries int    `json:"max_retries,omitempty"` // with on-failure; 0: without end
}

// Wanted reports whether the policy asks for a start at all.
func (p RestartPolicy) Wanted() bool { return p.Name != "" && p.Name != RestartNo }

// String returns the policy as "docker run --restart" takes it.
func (p RestartPolicy) String() string {
	switch {
	case !p.Wanted():
		return RestartNo
	case p.MaxRetries > 0:
		return p.Name + ":" + strconv.Itoa(p.MaxRetries)
	}
	return p.Name
}

// Check returns what is wrong with the policy, as a sentence, or nil.
func (p RestartPolicy) Check() error {
	switch p.Name {
	case "", RestartNo, RestartAlways, RestartUnlessStopped:
		if p.MaxRetries != 0 {
			return fmt.Errorf("a number of retries goes with %s only", RestartOnFailure)
		}
	case RestartOnFailure:
		if p.MaxRetries < 0 {
			return fmt.Errorf("%d is no number of retries", p.MaxRetries)
		}
	default:
		return fmt.Errorf("%q is no restart policy", p.Name)
	}
	return nil
}

// ParseRestartPolicy reads a policy as String writes it; "" is the zero one.
func ParseRestartPolicy(text string) (RestartPolicy, error) {
	name, count, counted := strings.Cut(text, ":")
	p := RestartPolicy{Name: name}
	if counted {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return RestartPolicy{}, fmt.Errorf("%q is no number of retries", count)
		}
		p.MaxRetries = n
	}
	return p, p.Check()
}

// Restart is a container's policy and how far it has been followed.
type Restart struct {
	Policy  RestartPolicy `json:"policy,omitzero"`
	Stopped bool          `json:"stopped,omitempty"` // on purpose, since it was last started
	Count   int           `json:"count,omitempty"`   // starts by ds01 since somebody started it
	Wait    time.Duration `json:"wait,omitempty"`    // the pause before the next start, or the last
	Due     time.Time     `json:"due,omitzero"`      // when it is started next, while it doesn't run; zero: not
	Problem string        `json:"problem,omitempty"` // why it could not be started when it was due
}

// Fresh returns the policy with nothing done about it yet, as after a start by
// hand.
func (r Restart) Fresh() Restart { return Restart{Policy: r.Policy} }
