//go:build race

package sim_test

// racing tells that the race detector watches, which takes seven times as long.
const racing = true
