// Package bench measures ds01 against the engine it stands before and prints
// one table. It has no code of its own; 'make bench' runs it.
package bench
