// Package deploy holds the files that are installed with ds01, for the
// program to show, to fall back on and to install. It does not install them.
package deploy

import _ "embed"

//go:embed resource-limits.yaml
var defaultLimits string

//go:embed ds01.yaml
var configuration string

//go:embed ds01.service
var service string

//go:embed ds01.slice
var slice string

//go:embed ds01-greeting.sh
var greeting string

//go:embed docker.service.d/ds01.conf
var engineDropIn string

// DefaultLimits returns the limits file as it ships, with its comments.
func DefaultLimits() []byte { return []byte(defaultLimits) }

// Configuration returns the daemon's own file as it ships.
func Configuration() []byte { return []byte(configuration) }

// Service returns the daemon's unit.
func Service() []byte { return []byte(service) }

// Slice returns the unit of the slice that everybody's slices are in.
func Slice() []byte { return []byte(slice) }

// Greeting returns what a login shell runs to tell what is news.
func Greeting() []byte { return []byte(greeting) }

// EngineDropIn returns what docker.service needs for builds.
func EngineDropIn() []byte { return []byte(engineDropIn) }
