// Package e2e tries the whole system as people use it: stock clients and the
// ds01 commands, as Unix users, on a real engine. It has no code of its own.
package e2e
