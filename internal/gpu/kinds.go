package gpu

import (
	"slices"

	"ds01.dev/ds01/internal/quantity"
)

// A Kind is what a host has of one profile, as one person sees it.
type Kind struct {
	Profile     string
	MemoryBytes int64 // of the smallest
	Share       quantity.GPUShare
	Total       int   // devices, also those that somebody holds
	Free        int   // that nobody holds and that can be used
	Most        int   // that one more container of theirs could have now
	Blocked     error // why Most is 0, as Allocate says it
}

// Kinds returns what the host has, the least first, and what of it the person
// could have now.
func Kinds(pool Pool, uid int, q Quota) []Kind {
	v := survey(pool, uid, q)
	var all []Kind
	for _, d := range smallest(pointers(pool.Devices), len(pool.Devices)) {
		i := slices.IndexFunc(all, func(k Kind) bool { return k.Profile == d.Profile })
		if i < 0 {
			i, all = len(all), append(all, Kind{Profile: d.Profile, MemoryBytes: d.MemoryBytes, Share: d.Share})
		}
		all[i].Total++
	}
	for i := range all {
		k := &all[i]
		one := Part{Count: 1, Profile: k.Profile}
		mine := fitting(v.free, one)
		k.Free = len(mine) + len(fitting(v.wholeFree, one))
		if k.Most = v.fitting(smallest(mine, v.most())); k.Most == 0 {
			_, k.Blocked = Allocate(pool, uid, Request{Parts: []Part{one}}, q)
		}
	}
	return all
}
