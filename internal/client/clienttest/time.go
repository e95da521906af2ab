package clienttest

import (
	"encoding/json"
	"net/http"
	"time"

	"ds01.dev/ds01/internal/apitype"
)

// times answers routes about containers' time.
func (f *Fake) times(mux *http.ServeMux) {
	set := func(pattern string, do func(*apitype.Time)) {
		mux.HandleFunc(pattern, f.change(func(c *apitype.Container) {
			if c.Time == nil {
				c.Time = &apitype.Time{Deadlines: []apitype.Deadline{}}
			}
			do(c.Time)
		}))
	}
	set("POST /v1/containers/{name}/keep", func(t *apitype.Time) { t.Kept = true })
	set("DELETE /v1/containers/{name}/keep", func(t *apitype.Time) { t.Kept = false })
	set("POST /v1/containers/{name}/protect", func(t *apitype.Time) { t.Protected = true })
	set("DELETE /v1/containers/{name}/protect", func(t *apitype.Time) { t.Protected = false })
	mux.HandleFunc("POST /v1/containers/{name}/extend", f.extend)
	mux.HandleFunc("GET /v1/exemptions", func(w http.ResponseWriter, _ *http.Request) { reply(w, f.Exempted) })
	mux.HandleFunc("POST /v1/exemptions", func(w http.ResponseWriter, r *http.Request) {
		var e apitype.Exemption
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			apiError(w, err)
			return
		}
		made := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		e.By, e.Made = f.Me.User, &made
		reply(w, e)
	})
	mux.HandleFunc("DELETE /v1/exemptions/{user}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
}

func (f *Fake) extend(w http.ResponseWriter, r *http.Request) {
	var ask apitype.Extend
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		apiError(w, err)
		return
	}
	f.change(func(c *apitype.Container) {
		c.Time = &apitype.Time{ExtendedSeconds: ask.Seconds, Deadlines: []apitype.Deadline{{Cause: "runtime", Action: "stop", LimitSeconds: ask.Seconds, LeftSeconds: ask.Seconds}}}
	})(w, r)
}
