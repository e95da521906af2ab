package gateway

import (
	"errors"
	"net/http"
	"sync"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/peer"
)

// brief reports whether an operation only looks, and answers at once.
func brief(op admission.Op) bool {
	switch op {
	case admission.Version, admission.Info, admission.ContainerList, admission.ContainerInspect, admission.ExecInspect,
		admission.ImageList, admission.ImageInspect, admission.ImageHistory,
		admission.NetworkList, admission.NetworkInspect, admission.VolumeList, admission.VolumeInspect:
		return true
	default:
		return false
	}
}

// suppose answers a brief look as for the account as it was when it asked
// last, while it is looked up anew beside the engine's work. What would be
// said leaves only where nothing has changed meanwhile; suppose returns false
// where something has, or nothing can be supposed, and nothing was answered.
func (g *Gateway) suppose(w http.ResponseWriter, r *http.Request) bool {
	p, err := peer.FromContext(r.Context())
	if err != nil {
		return false
	}
	last, known := g.last.Load(p.UID)
	if !known {
		return false
	}
	who, _ := last.(account.Account)
	c := &call{Gateway: g, r: r, peer: p, who: who, roles: g.rolesOf(p, who)}
	if !c.roles.Docker || c.route() != nil || !brief(c.match.Op) {
		return false
	}
	looked := make(chan bool, 1)
	go func() {
		now, err := g.lookup(p.UID)
		looked <- err == nil && now.Equal(who)
	}()
	held := &gate{ResponseWriter: w, opens: sync.OnceValue(func() bool { return <-looked })}
	c.w = held
	err = g.serve[c.match.Op](c)
	if !held.opens() {
		clear(w.Header())
		return false
	}
	if err := c.looked(err); err != nil && !errors.Is(err, errAnswered) {
		g.refuse(w, r, err)
	}
	return true
}

// A gate keeps an answer back until it is known whether it may leave, and
// drops one that may not. It has no Unwrap: nobody gets past it.
type gate struct {
	http.ResponseWriter
	opens func() bool // waits
}

// WriteHeader sends the head, if it may leave.
func (g *gate) WriteHeader(status int) {
	if g.opens() {
		g.ResponseWriter.WriteHeader(status)
	}
}

// Write sends a piece, if it may leave.
func (g *gate) Write(data []byte) (int, error) {
	if !g.opens() {
		return len(data), nil
	}
	return g.ResponseWriter.Write(data)
}

// FlushError sends what was written, if it may leave.
func (g *gate) FlushError() error {
	if !g.opens() {
		return nil
	}
	return http.NewResponseController(g.ResponseWriter).Flush()
}
