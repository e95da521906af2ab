package reconciler

import (
	"maps"
	"slices"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
)

// A View is one container as ds01 knows it: its record, or only what the
// engine shows when it is quarantined.
type View struct {
	Record      container.Record
	Observed    container.Observed // zero while pending
	Quarantined bool
}

// begun is what is known of a container whose start the engine's events haven't
// told yet: whoever has started it sees it run.
func begun(record container.Record, o container.Observed) container.Observed {
	if record.State == gpu.Running && (o.State == "created" || o.State == "exited") {
		o.State = "running"
	}
	return o
}

// Views returns every container that keep says yes to: records oldest first,
// then quarantined ones by id.
func (r *Reconciler) Views(keep func(container.Record) bool) []View {
	records := r.Ledger.Records()
	r.mu.Lock()
	defer r.mu.Unlock()
	var views []View
	for _, record := range records {
		if keep(record) {
			views = append(views, View{Record: record, Observed: begun(record, r.observed[record.ContainerID])})
		}
	}
	return views
}

// Silent returns the ids of the containers that the engine says nothing about,
// though it answers otherwise.
func (r *Reconciler) Silent() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.silent))
}

// Observed returns a container of ds01's as the engine showed it last.
func (r *Reconciler) Observed(id string) (container.Observed, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.observed[id]
	return o, ok
}
