package gpu

// And returns a request for what both ask for.
func (r Request) And(more Request) Request {
	out := Request{All: r.All || more.All, Count: r.Count + more.Count}
	for _, parts := range [][]Part{r.Parts, more.Parts} {
		for _, p := range parts {
			out.add(p)
		}
	}
	return out
}

// Less returns what is left of a request once d, which was granted for it, is
// given up: the part that asked for its kind asks for one less, else so do those of any
// kind. All means the kinds of kept, the devices that are left.
func (r Request) Less(d Device, kept []Device) Request {
	if r.All {
		out := Request{}
		for _, k := range kept {
			out.add(Part{Count: 1, Profile: k.Profile})
		}
		return out
	}
	out := Request{Count: r.Count}
	found := false
	for _, p := range r.Parts {
		if !found && p.takes(&d) {
			found = true
			p.Count--
		}
		if p.Count > 0 {
			out.add(p)
		}
	}
	if !found {
		out.Count = max(r.Count-1, 0)
	}
	return out
}
