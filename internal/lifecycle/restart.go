package lifecycle

import (
	"fmt"
	"time"

	"ds01.dev/ds01/internal/container"
)

// The pauses between two starts of a container, as Docker makes them: the
// first, the longest, and how long a container runs for the next pause to be
// the first again.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = time.Minute
	ranWell      = 10 * time.Second
)

// An End is how a container's last run ended.
type End struct {
	ExitCode int
	Ran      time.Duration
}

// A Decision is when a container is started again. The zero time is never.
type Decision struct {
	At     time.Time
	Reason string
}

// StartAgain decides about a container that has ended at now. One that was
// stopped on purpose stays so, and one whose policy counts is never started
// more often than it says.
func StartAgain(r container.Restart, e End, now time.Time) Decision {
	if r.Stopped {
		return Decision{Reason: "it was stopped on purpose"}
	}
	return wished(r, e, now.Add(pauseAfter(r, e)))
}

// StartAtBoot decides about a container that doesn't run while the engine, or
// ds01, has just come up. As with Docker, "always" then means also what was
// stopped on purpose.
func StartAtBoot(r container.Restart, e End, now time.Time) Decision {
	if r.Stopped && r.Policy.Name != container.RestartAlways {
		return Decision{Reason: "it was stopped on purpose"}
	}
	return wished(r, e, now)
}

// wished decides by the policy alone.
func wished(r container.Restart, e End, at time.Time) Decision {
	switch p := r.Policy; {
	case !p.Wanted():
		return Decision{Reason: "its policy is " + p.String()}
	case p.Name != container.RestartOnFailure:
		return Decision{at, "its policy is " + p.String()}
	case e.ExitCode == 0:
		return Decision{Reason: "it ended well, and its policy is " + p.String()}
	case exhausted(r):
		return Decision{Reason: fmt.Sprintf("it was started again %d times, and its policy is %s", r.Count, p)}
	default:
		return Decision{at, fmt.Sprintf("it ended with code %d, and its policy is %s", e.ExitCode, p)}
	}
}

func pauseAfter(r container.Restart, e End) time.Duration {
	if e.Ran >= ranWell {
		return firstPause
	}
	return longer(r.Wait)
}

func longer(pause time.Duration) time.Duration {
	return min(max(2*pause, firstPause), longestPause)
}

// Ended returns r after a container has ended, with what is decided about it.
func Ended(r container.Restart, e End, now time.Time) (container.Restart, Decision) {
	d := StartAgain(r, e, now)
	r.Due, r.Problem = d.At, ""
	if !d.At.IsZero() {
		r.Wait = pauseAfter(r, e)
	}
	return r, d
}

// Booted returns r after the engine, or ds01, has come up, with what is decided
// about a container that doesn't run. What is due already stays so.
func Booted(r container.Restart, e End, now time.Time) (container.Restart, Decision) {
	if !r.Due.IsZero() {
		return r, Decision{r.Due, "it was due before"}
	}
	d := StartAtBoot(r, e, now)
	if !d.At.IsZero() {
		r.Stopped, r.Wait, r.Due = false, 0, d.At
	}
	return r, d
}

// Starting returns r for a start at now: it counts before it happens, and is
// due again, if the policy lets it, should nobody hear how it went.
func Starting(r container.Restart, now time.Time) container.Restart {
	r.Count++
	r.Due, r.Problem = now.Add(longer(r.Wait)), ""
	if exhausted(r) {
		r.Due = time.Time{}
	}
	return r
}

func exhausted(r container.Restart) bool {
	return r.Policy.MaxRetries > 0 && r.Count >= r.Policy.MaxRetries
}

// NotStarted returns r after a start that came to nothing: it doesn't count,
// and is tried again after a longer pause.
func NotStarted(r container.Restart, problem string, now time.Time) container.Restart {
	r.Count--
	r.Wait = longer(r.Wait)
	r.Due, r.Problem = now.Add(r.Wait), problem
	return r
}

// Halted returns r for a container that is ended on purpose.
func Halted(r container.Restart) container.Restart {
	r.Stopped, r.Due, r.Problem = true, time.Time{}, ""
	return r
}

// AsksToEnd reports whether a signal is sent to end a container. Only those
// that by custom ask for something else don't count.
func AsksToEnd(signal string) bool {
	switch signal {
	case "HUP", "USR1", "USR2", "CONT", "WINCH", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH", "1", "10", "12", "18", "28":
		return false
	}
	return true
}

// Wished returns r for a new policy. It starts nothing; a container that waits
// to be started goes on waiting only if the new policy would have it so.
func Wished(r container.Restart, p container.RestartPolicy) container.Restart {
	r.Policy = p
	if !p.Wanted() || exhausted(r) {
		r.Due, r.Problem = time.Time{}, ""
	}
	return r
}
