package gateway

import (
	"math/rand/v2"
	"strconv"
)

// randomName returns a name for a container whose maker gave none. Names get
// a number once they seem to run out.
func randomName(attempt int) string {
	manner := []string{
		"amber", "brave", "calm", "clever", "cosmic", "crisp", "eager", "fair", "gentle", "golden", "happy", "jolly",
		"keen", "kind", "lively", "lucid", "merry", "mighty", "nimble", "quiet", "rapid", "serene", "silver", "sunny",
		"swift", "tidy", "upbeat", "vivid", "warm", "wise", "witty", "zesty",
	}
	name := []string{
		"babbage", "bell", "boole", "curie", "darwin", "dijkstra", "euler", "fermi", "franklin", "galois", "gauss",
		"germain", "hamilton", "hopper", "hypatia", "johnson", "kepler", "knuth", "lamarr", "leibniz", "lovelace",
		"meitner", "mirzakhani", "neumann", "newton", "noether", "pascal", "ramanujan", "shannon", "sinoussi", "turing", "yalow",
	}
	n := manner[rand.IntN(len(manner))] + "_" + name[rand.IntN(len(name))] //nolint:gosec // a name needs no secrecy
	if attempt > 8 {
		n += strconv.Itoa(rand.IntN(1000)) //nolint:gosec // a name needs no secrecy
	}
	return n
}
