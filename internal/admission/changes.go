package admission

import "slices"

// Changes reports whether taking the route changes something, or gives a hand
// in what runs: such requests are written down when they are allowed too. A
// route that is new does unless it only looks.
func (r Route) Changes() bool {
	return ChangesBy(r.Method) && !slices.Contains([]Op{ContainerWait, ContainerResize, ExecResize}, r.Op)
}

// ChangesBy reports whether requests of a method may change something.
func ChangesBy(method string) bool {
	return !slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, method)
}
