package admission

// A Refusal is one field that nobody may set, with the reason.
type Refusal struct{ Field, Why string }

// Refusals returns what the review of a create request refuses, for the page
// that lists it.
func Refusals() []Refusal {
	c := Create{HostConfig: HostConfig{Mounts: []MountPoint{{}}}}
	var all []Refusal
	for _, r := range c.refused() {
		all = append(all, Refusal{r.field, r.why})
	}
	return all
}

// UpdateRefusals returns what the review of an update refuses, for the page
// that lists it.
func UpdateRefusals() []Refusal {
	var all []Refusal
	for _, r := range new(Update).refused() {
		all = append(all, Refusal{r.field, r.why})
	}
	return all
}

// Looser names the field in which the second of two reviewed requests may more
// than the first.
func Looser(before, after Create) string { return looser(before, after) }
