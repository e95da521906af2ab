package ds01.teaching_test

import data.ds01.teaching

at(weekday, hour, groups, gpus) := {
	"action": "container.create",
	"now": {"weekday": weekday, "hour": hour},
	"user": {"groups": groups, "admin": false},
	"request": {"gpus": gpus},
}

test_others_by_day if count(teaching.deny) == 1 with input as at("Friday", 9, ["lab"], [{"profile": "full"}])

test_others_in_the_evening if count(teaching.deny) == 0 with input as at("Friday", 17, ["lab"], [{"profile": "full"}])

test_others_on_sunday if count(teaching.deny) == 0 with input as at("Sunday", 12, ["lab"], [{"profile": "full"}])

test_others_without_a_gpu if count(teaching.deny) == 0 with input as at("Friday", 12, ["lab"], [])

test_the_course if count(teaching.deny) == 0 with input as at("Friday", 12, ["ml-course"], [{"profile": "full"}])

test_an_administrator if {
	by_day := at("Friday", 12, ["lab"], [{"profile": "full"}])
	count(teaching.deny) == 0 with input as object.union(by_day, {"user": {"admin": true}})
}

test_the_course_is_small if {
	some t in teaching.tighten with input as at("Friday", 12, ["ml-course"], [])
	t.memory == 17179869184
	t.cpus == 4
}

test_at_night_nothing_is_small if count(teaching.tighten) == 0 with input as at("Friday", 23, ["ml-course"], [])
