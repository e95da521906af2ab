package clienttest

import (
	"encoding/json"
	"net/http"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/layout"
	"ds01.dev/ds01/internal/problem"
)

// readLayout reads the file of a request, and answers where it is none.
func (f *Fake) readLayout(w http.ResponseWriter, r *http.Request) bool {
	var file apitype.LayoutFile
	if err := json.NewDecoder(r.Body).Decode(&file); err != nil {
		apiError(w, err)
		return false
	}
	read, err := layout.Decode(file.Name, []byte(file.YAML))
	if err == nil {
		_, err = read.Choose(file.Config)
	}
	if err != nil {
		apiError(w, err)
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.layouts = append(f.layouts, file)
	return true
}

// Layouts returns every layout file that was sent.
func (f *Fake) Layouts() []apitype.LayoutFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.layouts
}

func (f *Fake) planMIG(w http.ResponseWriter, r *http.Request) {
	if f.readLayout(w, r) {
		reply(w, f.MIGPlan)
	}
}

// applyMIG tells the plan and its steps; the last one fails where Broken says
// so.
func (f *Fake) applyMIG(w http.ResponseWriter, r *http.Request) {
	if !f.readLayout(w, r) {
		return
	}
	if f.MIGPlan.Refusal != nil {
		apiError(w, problem.FromDocument(*f.MIGPlan.Refusal))
		return
	}
	tell := func(p apitype.MIGProgress) {
		_ = json.NewEncoder(w).Encode(p) // a client that went needs no answer
		_ = http.NewResponseController(w).Flush()
	}
	tell(apitype.MIGProgress{Plan: &f.MIGPlan})
	for _, c := range f.MIGPlan.Cards {
		for i := range c.Steps {
			if f.Broken != nil && i == len(c.Steps)-1 {
				doc := problem.Describe(f.Broken)
				tell(apitype.MIGProgress{Error: &doc})
				return
			}
			tell(apitype.MIGProgress{Step: &c.Steps[i]})
			if f.Stalls != nil {
				<-f.Stalls
			}
		}
	}
	tell(apitype.MIGProgress{Done: true})
}
