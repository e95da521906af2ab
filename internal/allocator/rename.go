package allocator

import (
	"context"
	"fmt"

	"ds01.dev/ds01/internal/problem"
)

// Rename gives a claim another name among its owner's. One that is taken is of
// kind problem.ErrConflict, an unknown claim of kind problem.ErrNotFound.
func (a *Allocator) Rename(ctx context.Context, claim, name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.records[claim]
	if !ok {
		return fmt.Errorf("claim %s: %w", claim, problem.ErrNotFound)
	}
	for _, other := range a.records {
		if other.UID == r.UID && other.Name == name && other.ID != claim {
			return &problem.Error{
				What: "Container " + r.Name + " not renamed",
				Why:  problem.Because(problem.ErrConflict, "you have a container called "+name+" already"),
				Next: "Choose another name; 'container list' shows yours.",
			}
		}
	}
	r.Name = name
	return a.save(ctx, r)
}
