package policy

import "reflect"

// Tightening returns what a rule may write in tighten.
func Tightening() []Field { return Fields(reflect.TypeFor[tightening]()) }
