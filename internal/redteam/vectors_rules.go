package redteam

// ruledKey and ruledValue label what the site's own rules deny.
const ruledKey, ruledValue = "redteam", "denied"

// ruleVectors lay a file of rules beside the site's own and ask for a
// container. The attacker doesn't write rules; whoever does may be wrong, or
// have copied them from somewhere.
func ruleVectors() []Vector {
	return append(append(unfitRules(), senselessRules()...), looseRules()...)
}

// A hostile is a file of rules, without its package line.
type hostile struct{ id, says, rules string }

// asks makes a vector of each: the rules, then a container.
func asks(all []hostile, step Step) []Vector {
	var out []Vector
	for _, h := range all {
		out = append(out, several("rules-"+h.id, h.says, []Step{{Rules: "package ds01.hostile\n\n" + h.rules + "\n"}, step}, 92))
	}
	return out
}

// denied asks for what the site's own rules deny.
func denied(message string) Step {
	s := create(`{"Image":"{image}","Cmd":["true"],"Labels":{"{mark}":"1","`+ruledKey+`":"`+ruledValue+`"}}`, []int{403})
	s.Message = message
	return s
}

// unfitRules reach out. They don't come into force, the last good ones stay.
func unfitRules() []Vector {
	reaches := func(what, how string) string {
		return `deny contains "REACHED-{mark} ` + what + `" if ` + how
	}
	return asks([]hostile{
		{"network", "rules that ask a port of the host", reaches("the network", `http.send({"method": "GET", "url": "http://{trap}/", "raise_error": false}).status_code >= 0`)},
		{"network-with", "rules that ask a port of the host under another name", "send := http.send\n\n" + reaches("the network", `send({"method": "GET", "url": "http://{trap}/", "raise_error": false}).status_code >= 0`)},
		{"names", "rules that ask name servers", reaches("name servers", `count(net.lookup_ip_addr("localhost")) > 0`)},
		{"clock", "rules that read the clock", reaches("the clock", `time.now_ns() > 0`)},
		{"environment", "rules that read the daemon's environment", reaches("the environment", `opa.runtime().env.PATH != ""`)},
		{"chance", "rules that throw dice", reaches("chance", `rand.intn("x", 2) >= 0`)},
		{"import", "rules that import what isn't there", "import data.secrets\n\n" + reaches("the daemon's data", `secrets`)},
		{"inner", "rules that read how ds01 asks them", reaches("ds01's own rules", `data.ds01.hostile.__ds01_deny`)},
		{"kinds", "rules that compare two kinds", reaches("nothing", `input.user.uid == "1"`)},
		{"field", "rules that read a field that isn't there", reaches("nothing", `input.user.password`)},
		{"cut", "rules that are cut off", `deny contains "x" if {`},
	}, denied("it is denied here"))
}

// senselessRules come into force and have no answer, or one that nobody knows
// the meaning of: then the answer is no.
func senselessRules() []Vector {
	tightens := func(object string) string { return "tighten contains " + object }
	return asks([]hostile{
		{"loop", "rules that loop", `deny contains "never" if count([x | some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); x := a * b]) < 0`},
		{"loop-function", "a function that takes for ever", `deny contains "never" if count(numbers.range(1, 1000000000000)) < 0`},
		{"loop-text", "texts that double", `deny contains "never" if count(concat("", [s | some i in numbers.range(1, 100000000); s := sprintf("%d", [i])])) < 0`},
		{"recursion", "two functions that call each other by data", `deny contains "never" if count({p | walk(data.ds01, [p, _])}) < 0`},
		{"fails", "a function that fails", `deny contains "x" if units.parse_bytes(input.user.name) > 3`},
		{"two-values", "two values for one name", "x := 1 if input.version == 1\n\nx := 2 if input.version < 3\n\n" + `deny contains "x" if x == 3`},
		{"true", "a denial that is no text", `deny contains true`},
		{"object", "a denial that is an object", `deny contains {"msg": "x"}`},
		{"blank", "a denial without words", `deny contains " "`},
		{"many", "more answers than anybody reads", `deny contains sprintf("%d", [n]) if some n in numbers.range(1, 100000)`},
		{"huge", "a denial of megabytes", `deny contains concat("", [s | some i in numbers.range(1, 20000); s := "0123456789"])`},
		{"escape", "a denial that moves the cursor", "deny contains \"\\u001b[2J\\u0007\""},
		{"text", "a tightening that is a text", tightens(`"memory"`)},
		{"mute", "a tightening without words", tightens(`{"memory": 1000000000}`)},
		{"unknown", "a tightening of a field that isn't on the list", tightens(`{"message": "x", "privileged": true}`)},
		{"unknown-beside", "a tightening of a field that isn't on the list, beside one that is", tightens(`{"message": "x", "memory": 1000000000, "cap_add": ["SYS_ADMIN"]}`)},
		{"case", "a tightening in capitals", tightens(`{"message": "x", "Memory": 1000000000}`)},
		{"zero", "no memory, which the engine takes for no limit", tightens(`{"message": "x", "memory": 0}`)},
		{"minus", "less than no memory, which the engine takes for no limit", tightens(`{"message": "x", "memory": -1}`)},
		{"overflow", "an amount that no number holds", tightens(`{"message": "x", "memory": 18446744073709551616}`)},
		{"infinite", "processors without number", tightens(`{"message": "x", "cpus": 1e308}`)},
		{"fraction", "half a process", tightens(`{"message": "x", "pids_limit": 0.5}`)},
		{"host-network", "the host's network", tightens(`{"message": "x", "network": "host"}`)},
		{"privileges", "privileges back", tightens(`{"message": "x", "no_new_privileges": false}`)},
		{"capability", "a capability that is none", tightens(`{"message": "x", "cap_drop": ["-MKNOD"]}`)},
	}, denied("site policy"))
}

// looseRules come into force and would give more than ds01 does.
func looseRules() []Vector {
	step := create(hosted(`"Memory":0`), []int{201})
	return asks([]hostile{
		{"loose-amounts", "a tightening that is more than there was", `tighten contains {"message": "x", "memory": 1099511627776, "cpus": 64, "pids_limit": 1000000, "shm_size": 1099511627776}`},
		{"loose-capabilities", "a tightening by no capability", `tighten contains {"message": "x", "cap_drop": [], "memory": 1099511627776}`},
		{"loose-allow", "rules that allow", "allow := true\n\ndefault deny_nothing := true\n\ntighten contains {\"message\": \"x\", \"memory\": 1099511627776} if allow"},
	}, step)
}
