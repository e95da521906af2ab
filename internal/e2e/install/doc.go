// Package install puts ds01 on a whole host and takes it away again: a Debian
// with systemd as its first process and Docker as its packages bring it, in a
// container. It has no code of its own.
package install
