// Package crash tries what is left when something ends in the middle, on a real
// engine: the daemon, the engine, a connection; and what bad input and many at
// once do. It has no code of its own.
package crash
