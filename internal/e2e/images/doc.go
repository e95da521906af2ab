// Package images tries images as people use them, with stock clients on a real
// engine: builds, pulls and pushes, names, sharing. It has no code of its own.
package images
