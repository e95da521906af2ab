package launcher

import (
	"context"
	"errors"
	"fmt"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

const notRenamed = "Container not renamed"

// Rename gives a container another name among its owner's. The record comes
// first: a rename that is cut short is made up for by Align, and only where the
// engine refuses is the record put back.
func (l *Launcher) Rename(ctx context.Context, claim, name string) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	defer l.Ledger.Lock(claim)()
	record, err := l.existing(notRenamed, claim)
	if err != nil {
		return err
	}
	if err := checkNewName(record, name); err != nil {
		return err
	}
	if err := l.Ledger.Rename(ctx, claim, name); err != nil {
		return err
	}
	err = l.Engine.Rename(ctx, record.ContainerID, account.EngineName(name, record.UID))
	if err == nil || !refused(err) {
		return err
	}
	if berr := l.Ledger.Rename(ctx, claim, record.Name); berr != nil {
		return errors.Join(err, fmt.Errorf("keep its name: %w", berr))
	}
	switch {
	case errors.Is(err, problem.ErrConflict):
		return nameTaken(name)
	case errors.Is(err, problem.ErrNotFound): // of an engine without a bridge, once it was restarted
		return &problem.Error{
			What: notRenamed, Why: problem.Because(problem.ErrConflict, err.Error()),
			Next: "Stop it first: what doesn't run can be renamed.",
		}
	}
	return err
}

func checkNewName(record container.Record, name string) error {
	switch {
	case !account.ValidContainerName(name):
		return &problem.Error{
			What: notRenamed,
			Why:  problem.Because(problem.ErrInvalid, fmt.Sprintf("%q: a name has letters, digits, '_', '.' and '-', begins with a letter or digit, and doesn't hold '._.'", name)),
			Next: "Choose another name.",
		}
	case name == record.Name:
		return &problem.Error{What: notRenamed, Why: problem.Because(problem.ErrInvalid, "it is called "+name+" already"), Next: "Choose another name."}
	}
	return nil
}

// nameTaken is about a name that a container has which isn't in the ledger.
func nameTaken(name string) error {
	return &problem.Error{
		What: notRenamed,
		Why:  problem.Because(problem.ErrConflict, "the engine has a container "+name+" of yours that ds01 doesn't know"),
		Next: "Choose another name, or ask your administrators to have 'container adopt' look at it.",
	}
}

// refused reports whether the engine has certainly done nothing.
func refused(err error) bool {
	if _, ok := errors.AsType[container.NotAskedError](err); ok {
		return true
	}
	for _, kind := range []error{problem.ErrInvalid, problem.ErrDenied, problem.ErrNotFound, problem.ErrConflict} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Align gives a container the name of its record at the engine, after a rename
// that was cut short or made past ds01. The caller holds the claim's lock.
func (l *Launcher) Align(ctx context.Context, record container.Record, o container.Observed) error {
	want := account.EngineName(record.Name, record.UID)
	if o.Name == want {
		return nil
	}
	l.Log.InfoContext(ctx, "container gets its name back at the engine", "container", o.ID, "name", want, "found", o.Name)
	return l.Engine.Rename(ctx, o.ID, want)
}
