// Package redteam tries every attack of internal/redteam on the gateway, on a
// real engine. It has no code of its own.
package redteam
