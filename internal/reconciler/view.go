package reconciler

import (
	"ds01.dev/ds01/internal/container"
)

// A View is one container as ds01 knows it: its record, or only what the
// engine shows when it is quarantined.
type View struct {
	Record      container.Record
	Observed    container.Observed // zero while pending
	Quarantined bool
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
			views = append(views, View{Record: record, Observed: r.observed[record.ContainerID]})
		}
	}
	return views
}
