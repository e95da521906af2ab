//go:build race

package storetest

// racing tells that the race detector watches, which takes five times as long.
const racing = true
