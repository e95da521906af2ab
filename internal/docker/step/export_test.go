package step

// Ours reports whether a bundle is a step's that ds01 has asked for.
func Ours(bundle string) (bool, error) {
	_, ours, err := read(bundle)
	return ours, err
}
