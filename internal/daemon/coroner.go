package daemon

import (
	"context"
	"time"

	"ds01.dev/ds01/internal/coroner"
	"ds01.dev/ds01/internal/kmsg"
	"ds01.dev/ds01/internal/terminal"
)

// coroner finds out what the kernel ends here for want of memory.
func (h *host) coroner() *coroner.Coroner {
	return coroner.New(coroner.Parts{
		Follow: func(ctx context.Context, died func(coroner.Death)) error {
			return kmsg.Follow(ctx, kmsg.Path, func(k kmsg.Kill) { died(coroner.Death(k)) })
		},
		ByContainer: h.d.ledger.ByContainer, Update: h.d.ledger.Update,
		Groups:   func(uid int, id string) (own, person string) { return h.container(uid, id), h.path(uid) },
		Tell:     func(uid int, text string) (int, error) { return terminal.Tell(terminal.Folder, uid, text) },
		Recorder: h.d.recorder, Log: h.d.Log, Now: time.Now,
	})
}
