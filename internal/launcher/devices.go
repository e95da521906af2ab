package launcher

import (
	"context"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/recorder"
)

// atStart reports whether a container that is made now gets its devices at each
// start. Where the engine itself brings them along by CDI, what it has stored
// says which.
func (l *Launcher) atStart(libraries string) bool {
	return libraries != admission.LibrariesCDI && l.AtStart()
}

// give has a container be given what its claim holds by now.
func (l *Launcher) give(ctx context.Context, claim string) error {
	record, err := l.existing(notStarted, claim)
	if err != nil || !record.AtStart {
		return err
	}
	recorder.Note(ctx, func(e *event.Event) { e.Devices = record.Slots() })
	return l.Grants.Give(record.ContainerID, l.devicesOf(record))
}

// Given returns the UUIDs of the devices that a container was given when it
// started, where its configuration doesn't tell.
func (l *Launcher) Given(o container.Observed) ([]string, error) {
	if !o.AtStart {
		return nil, nil
	}
	return l.Grants.Given(o.ID)
}

// takeBack has a container that doesn't run be given nothing.
func (l *Launcher) takeBack(record container.Record) error {
	if !record.AtStart || record.ContainerID == "" {
		return nil
	}
	return l.Grants.Take(record.ContainerID)
}
