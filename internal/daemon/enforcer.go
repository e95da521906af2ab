package daemon

import (
	"ds01.dev/ds01/internal/enforcer"
	"ds01.dev/ds01/internal/terminal"
)

// enforcer keeps what runs here within the limits of now.
func (h *host) enforcer() *enforcer.Enforcer {
	return enforcer.New(enforcer.Parts{
		Ready:   func() bool { _, known := h.info(); return known },
		Records: h.d.ledger.Records, Limits: h.limitsOfUID, Level: h.settle, Fit: h.d.launcher.Fit,
		Tell:     func(uid int, text string) (int, error) { return terminal.Tell(terminal.Folder, uid, text) },
		Recorder: h.d.recorder, Log: h.d.Log,
	})
}
