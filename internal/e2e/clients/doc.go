// Package clients has tests only: programs that nobody here wrote speak through
// the gateway, as two people at once who call everything by the same names.
// What they try is data, from which the page for users is written.
package clients
