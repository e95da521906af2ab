# Images come from these registries, also those that are built on. What a person
# has built, loaded or committed is their own and may be used.
package ds01.registries

allowed := {"docker.io", "ghcr.io", "nvcr.io"}

deny contains msg if {
	input.action in {"image.pull", "container.create"}
	not input.request.image.personal
	not input.request.image.registry in allowed
	msg := sprintf("images from %s are not used here; those from %s are", [input.request.image.registry, concat(", ", allowed)])
}

deny contains msg if {
	input.action == "image.build"
	some base in input.request.build.bases
	not base.personal
	not base.registry in allowed
	msg := sprintf("images from %s are not built on here; those from %s are", [base.registry, concat(", ", allowed)])
}
