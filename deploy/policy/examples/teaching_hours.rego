# On weekdays from 9 to 17, by the host's clock, GPUs are the course's, and
# what the course runs is small. What runs already runs on.
package ds01.teaching

course := "ml-course"

days := {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday"}

begins := 9

ends := 17

teaching if {
	input.now.weekday in days
	input.now.hour >= begins
	input.now.hour < ends
}

begun if input.action in {"container.create", "container.start"}

deny contains msg if {
	begun
	teaching
	count(input.request.gpus) > 0
	not course in input.user.groups
	not input.user.admin
	msg := sprintf("from %d to %d o'clock on weekdays GPUs are for the group %s", [begins, ends, course])
}

tighten contains {
	"memory": units.parse_bytes("16GiB"),
	"cpus": 4,
	"message": "enough for the course, so that everybody finds room",
} if {
	startswith(input.action, "container.")
	teaching
	course in input.user.groups
}
