package ds01.ports_test

import data.ds01.ports

with_port(action, groups) := {"action": action, "user": {"groups": groups}, "request": {"ports": [{"container": 8888}]}}

test_the_group if {
	"the group students publishes no ports, and this one would be 8888" in ports.deny with input as with_port("container.create", ["students"])
}

test_its_containers_that_there_are if count(ports.deny) == 1 with input as with_port("container.start", ["students"])

test_others if count(ports.deny) == 0 with input as with_port("container.create", ["staff"])

test_no_port if {
	count(ports.deny) == 0 with input as {"action": "container.create", "user": {"groups": ["students"]}, "request": {"ports": []}}
}
