package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/problem"
)

func (r *Reconciler) quarantine(o container.Observed) {
	if given, err := r.Launcher.Given(o); err != nil {
		r.Log.Error("devices of a container not looked up", "container", o.ID, "error", err)
		o.Hints = gpu.Hints{All: true}
	} else {
		o.Hints.DeviceIDs = append(slices.Clone(o.Hints.DeviceIDs), given...)
	}
	r.mu.Lock()
	was, known := r.quarantined[o.ID]
	r.quarantined[o.ID] = o
	r.mu.Unlock()
	if !known {
		r.Log.Warn("container unknown to ds01, quarantined", "container", o.ID, "name", o.Name)
		r.Recorder.Daemon(event.Event{
			Action: "quarantine", Why: "ds01 did not make it, or has lost its record", Object: o.Name, Container: o.ID, Image: event.Reference(o.Image),
		})
	}
	if !known || was.Hints.All != o.Hints.All {
		r.countTaken()
	}
}

// countTaken counts every device that a quarantined container reaches as
// taken.
func (r *Reconciler) countTaken() {
	devices := r.Devices()
	taken := map[string]string{}
	r.mu.Lock()
	defer r.mu.Unlock() // whoever counts later also tells later
	for _, o := range r.quarantined {
		for _, uuid := range o.Hints.Reaches(devices) {
			taken[uuid] = "a container that ds01 did not make (" + o.Name + ") can reach it"
		}
	}
	r.Ledger.SetTaken(taken)
}

// Quarantined returns the containers that ds01 doesn't know, by id.
func (r *Reconciler) Quarantined() []container.Observed {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]container.Observed, 0, len(r.quarantined))
	for _, o := range r.quarantined {
		all = append(all, o)
	}
	sortByID(all)
	return all
}

// Adopt makes a quarantined container its new owner's.
func (r *Reconciler) Adopt(ctx context.Context, id string, record container.Record) (container.Record, error) {
	defer r.Ledger.Lock(id)()
	r.mu.Lock()
	o, ok := r.quarantined[id]
	r.mu.Unlock()
	if !ok {
		return container.Record{}, fmt.Errorf("container %s is not in quarantine: %w", id, problem.ErrNotFound)
	}
	if o.Restart.Wanted() { // from now on ds01 follows it
		if err := r.Disarm(ctx, id); err != nil {
			return container.Record{}, err
		}
		record.Restart.Policy = o.Restart
	}
	uuids := o.Hints.Reaches(r.Devices())
	record.ContainerID, record.Image, record.State, record.AtStart = o.ID, o.Image, gpu.Held, o.AtStart
	if o.Running() {
		record.State = gpu.Running
	} else {
		record.HeldUntil = lifecycle.HoldUntil(r.Now(), record.Quota)
	}
	adopted, err := r.Ledger.Adopt(ctx, record, uuids)
	if err != nil {
		return container.Record{}, err
	}
	r.mu.Lock()
	delete(r.quarantined, id)
	r.observed[id] = o
	r.mu.Unlock()
	r.countTaken()
	return adopted, nil
}

func sortByID(all []container.Observed) {
	slices.SortFunc(all, func(a, b container.Observed) int { return strings.Compare(a.ID, b.ID) })
}
