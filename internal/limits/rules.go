package limits

// A pair is two keys of which one says something about the other.
type pair struct{ key, other keyID }

// following lists keys that take the value of another where one rule sets
// only that other: who says memory: 64g means no swap, not the 32g of memory
// and swap that defaults allow; and max_tasks is the older name of
// aggregate.tasks, which wins where both are set.
func following() []pair {
	return []pair{{memorySwap, memory}, {aggregateMemoryHigh, aggregateMemory}, {aggregateTasks, maxTasks}}
}

// measures lists keys that measure one thing twice: where the file sets only
// the other, the built-in value of the key doesn't apply.
func measures() []pair {
	return []pair{{maxDevices, maxShare}, {maxShare, maxDevices}}
}

// atLeast lists keys whose built-in value is raised to the other key's: a
// file that lets one container have 128g lets its owner have 128g.
func atLeast() []pair {
	return []pair{{aggregateCPUs, maxCPUs}, {aggregateMemory, memory}, {aggregateMemoryHigh, memory}, {aggregateTasks, pidsLimit}}
}

// follow fills in what one rule implies.
func (l *layer) follow() {
	for _, p := range following() {
		if l[p.other].set && !l[p.key].set {
			l[p.key] = l[p.other]
		}
	}
}

// complete fills in what the file doesn't say, so that every key is set.
func (l *layer) complete(keys *[numKeys]key) {
	said := *l
	for i := range l {
		if !l[i].set {
			l[i] = setting{set: true, n: keys[i].builtin, roots: keys[i].roots, unlimited: keys[i].none, source: Source{Rule: "built-in"}}
		}
	}
	if l[memory].above(&l[memorySwap]) { // the engine refuses it; the smaller holds anyway
		l[memory] = l[memorySwap]
	}
	for _, p := range measures() {
		if !said[p.key].set && said[p.other].set {
			l[p.key].unlimited = true
		}
	}
	for _, p := range atLeast() {
		if !said[p.key].set && l[p.other].above(&l[p.key]) {
			l[p.key] = l[p.other]
		}
	}
	if !said[maxTasks].set {
		l[maxTasks] = l[aggregateTasks]
	}
}

// above reports whether s allows more than t.
func (s *setting) above(t *setting) bool {
	return !t.unlimited && (s.unlimited || s.n > t.n)
}
