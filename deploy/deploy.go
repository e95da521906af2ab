// Package deploy holds the files that are installed with ds01, for the
// program to show and to fall back on. It does not install them.
package deploy

import _ "embed"

//go:embed resource-limits.yaml
var defaultLimits string

// DefaultLimits returns the limits file as it ships, with its comments.
func DefaultLimits() []byte { return []byte(defaultLimits) }
