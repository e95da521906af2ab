package ds01.registries_test

import data.ds01.registries

from(action, registry) := {"action": action, "request": {"image": {"registry": registry, "personal": false}}}

test_known if count(registries.deny) == 0 with input as from("image.pull", "ghcr.io")

test_unknown if {
	"images from evil.example are not used here; those from docker.io, ghcr.io, nvcr.io are" in registries.deny with input as from("image.pull", "evil.example")
}

test_create if count(registries.deny) == 1 with input as from("container.create", "evil.example")

test_start_of_what_there_is if count(registries.deny) == 0 with input as from("container.start", "evil.example")

test_personal if {
	count(registries.deny) == 0 with input as {"action": "container.create", "request": {"image": {"registry": "", "personal": true}}}
}

on(registries) := {"action": "image.build", "request": {"build": {"bases": [{"registry": r, "personal": r == ""} | some r in registries]}}}

test_build_on_known if count(registries.deny) == 0 with input as on(["ghcr.io", ""])

test_build_on_unknown if {
	"images from evil.example are not built on here; those from docker.io, ghcr.io, nvcr.io are" in registries.deny with input as on(["ghcr.io", "evil.example"])
}
