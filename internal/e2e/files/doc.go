// Package files tries what of the host's files people reach through containers, on
// a real engine: mounts, volumes, copies. It has no code of its own.
package files
