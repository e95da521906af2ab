package admission_test

import (
	"net/http"
	"testing"

	"ds01.dev/ds01/internal/admission"
)

// What isn't written down when it is allowed is listed here, so that no new
// route joins it unnoticed.
func TestRoutesThatAreNotWrittenDown(t *testing.T) {
	looks := map[string]bool{
		"POST /containers/{id}/wait": true, "POST /containers/{id}/resize": true, "POST /exec/{id}/resize": true,
	}
	for _, r := range admission.Routes() {
		name := r.Method + " " + r.Pattern
		want := r.Method != http.MethodGet && r.Method != http.MethodHead && !looks[name]
		if r.Changes() != want {
			t.Errorf("%s changes something: %t", name, r.Changes())
		}
	}
}
