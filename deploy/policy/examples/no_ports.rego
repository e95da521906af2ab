# The group publishes no ports: what it runs is reached over SSH alone.
package ds01.ports

group := "students"

deny contains msg if {
	startswith(input.action, "container.")
	group in input.user.groups
	some port in input.request.ports
	msg := sprintf("the group %s publishes no ports, and this one would be %d", [group, port.container])
}
