package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/mail"
)

// post sends mail by the site's program, one after the other. Nobody waits for
// it, and what wasn't sent isn't tried again. It is safe for concurrent use.
type post struct {
	config func() config.Mail
	host   string
	log    *slog.Logger
	out    chan mail.Message

	mu     sync.Mutex
	failed int   // in a row
	last   error // why the last of them did
}

// A burst of mails is a card that many wait for; one mail takes seconds at
// most where the program does its work.
const (
	mostMail    = 256
	mailTimeout = 30 * time.Second
)

func newPost(conf func() config.Mail, host string, log *slog.Logger) *post {
	return &post{config: conf, host: host, log: log, out: make(chan mail.Message, mostMail)}
}

// Send takes a mail. It says no while there is no program for it, or too much
// waits.
func (p *post) Send(login, subject, text string) bool {
	if p.config().Hook == "" {
		return false
	}
	select {
	case p.out <- mail.Message{Login: login, Subject: "[ds01] " + subject, Text: text}:
		return true
	default:
		return false
	}
}

// run sends until ctx ends.
func (p *post) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-p.out:
			err := p.send(ctx, m)
			if err != nil {
				p.log.WarnContext(ctx, "mail not sent", "login", m.Login, "subject", m.Subject, "error", err)
			}
			p.note(err)
		}
	}
}

func (p *post) send(ctx context.Context, m mail.Message) error {
	c := p.config()
	if c.Hook == "" {
		return nil // turned off meanwhile
	}
	who, err := accounts{}.LookupName(c.User)
	if err != nil {
		return fmt.Errorf("mail.user: %w", err)
	}
	return mail.Hook{Program: c.Hook, UID: who.UID, GID: who.GID, Timeout: mailTimeout}.Send(ctx, m.Login, m.Bytes(p.host, time.Now()))
}

func (p *post) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last = err; err == nil {
		p.failed = 0
		return
	}
	p.failed++
}

// problem says why mail isn't sent now, "" when it is or nobody wants any.
func (p *post) problem() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil || p.config().Hook == "" {
		return ""
	}
	return fmt.Sprintf("the last (%d in a row) wasn't sent: %v", p.failed, p.last)
}
