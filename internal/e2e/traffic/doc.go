// Package traffic tries what passes between people's programs, containers and the
// host, on a real engine: streams, networks, ports, every route. It has no code of its own.
package traffic
