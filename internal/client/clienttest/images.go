package clienttest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

func (f *Fake) images() []apitype.Image {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Images)
}

// image finds an image by one of its names; the caller holds the lock.
func (f *Fake) image(name string) (image, at int) {
	for i := range f.Images {
		for k, n := range f.Images[i].Names {
			if n.Name == name || n.FullName == name {
				return i, k
			}
		}
	}
	return -1, -1
}

func noImage(name string) error {
	return &problem.Error{What: "No such image: " + name, Why: problem.Because(problem.ErrNotFound, "it isn't on this host"), Next: "Fetch it with 'docker pull'."}
}

func (f *Fake) removeImage(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := r.FormValue("name")
	i, k := f.image(name)
	if i < 0 {
		apiError(w, noImage(name))
		return
	}
	removed := []apitype.RemovedImage{{Untagged: name}}
	f.Images[i].Names = slices.Delete(slices.Clone(f.Images[i].Names), k, k+1)
	if len(f.Images[i].Names) == 0 {
		removed = append(removed, apitype.RemovedImage{Deleted: f.Images[i].ID})
		f.Images = slices.Delete(f.Images, i, i+1)
	}
	reply(w, removed)
}

func (f *Fake) shareImage(shared bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask apitype.NameImage
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			apiError(w, err)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		i, k := f.image(ask.Name)
		if i < 0 {
			apiError(w, noImage(ask.Name))
			return
		}
		f.Images[i].Names[k].Shared = shared
		reply(w, f.Images[i].Names[k])
	}
}

func (f *Fake) saveImages(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range r.URL.Query()["names"] {
		if i, _ := f.image(name); i < 0 {
			dockerError(w, noImage(name))
			return
		}
	}
	_, _ = io.WriteString(w, f.Archive) // a client that went needs no answer
}

// loadImages says what it was sent.
func (*Fake) loadImages(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		dockerError(w, err)
		return
	}
	if len(data) == 0 {
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "ds01: Archive not read: it is empty"}) // a client that went needs no answer
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"stream": "Loaded image: " + string(data) + "\n"}) // a client that went needs no answer
}
