package admission

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// reviewEnv keeps variables from selecting a device past the claim, whether
// the client sends them or the image brings them along. A name without a value
// takes an image's variable away.
func reviewEnv(c *Create, _ Subject, g Grant) error {
	env := slices.DeleteFunc(withoutGPUVariables(c.Env), func(e string) bool { return nameOf(e) == "CUDA_VISIBLE_DEVICES" })
	for _, e := range g.ImageEnv {
		if name := nameOf(e); selectsDevices(name) && name != visibleDevices {
			env = append(env, name)
		}
	}
	env = append(env, visibleDevices+"=void")
	if len(g.Devices) > 0 && g.Libraries != LibrariesNone {
		loader, err := reviewLoader(env, g.ImageEnv)
		if err != nil {
			return err
		}
		env = append(env, loader...)
	}
	c.Env = env
	return nil
}

func nameOf(variable string) string {
	name, _, _ := strings.Cut(variable, "=")
	return name
}

// selectsDevices reports whether a variable of an image steers NVIDIA's
// runtime or driver. What only tells of the image itself doesn't.
func selectsDevices(name string) bool {
	switch {
	case name == "CUDA_VISIBLE_DEVICES":
		return true
	case !strings.HasPrefix(name, "NVIDIA_"), strings.HasPrefix(name, "NVIDIA_REQUIRE_"), strings.HasSuffix(name, "_VERSION"):
		return false
	}
	return !slices.Contains([]string{"NVIDIA_BUILD_ID", "NVIDIA_BUILD_REF", "NVIDIA_PRODUCT_NAME"}, name)
}

// reviewLoader keeps the loader's variables to what is safe for the hooks that
// bring the driver's libraries: they run as root on the host, with the
// container's variables (CVE-2025-23266). It returns what overrides the
// image's.
func reviewLoader(env, image []string) (overrides []string, err error) {
	own := map[string]bool{}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		own[name] = true
		if strings.HasPrefix(name, "LD_") && hostSafe(name, value) != value {
			return nil, denied(notCreated, fmt.Sprintf("%s: beside a GPU it reaches a program that runs as root on the host", e),
				"Set it inside the container, for the one program that needs it: env "+name+"=… PROGRAM.")
		}
	}
	for _, e := range image {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "LD_") || own[name] {
			continue
		}
		if safe := hostSafe(name, value); safe == "" {
			overrides = append(overrides, name)
		} else if safe != value {
			overrides = append(overrides, name+"="+safe)
		}
	}
	return overrides, nil
}

// hostSafe returns what may stay of a loader's variable: folders of libraries
// that only root writes to, on the host too.
func hostSafe(name, value string) string {
	if name != "LD_LIBRARY_PATH" {
		return ""
	}
	var kept []string
	for dir := range strings.SplitSeq(value, ":") {
		for _, root := range []string{"/usr/", "/lib/", "/lib64/", "/opt/"} {
			if strings.HasPrefix(path.Clean(dir)+"/", root) && strings.HasPrefix(dir, "/") {
				kept = append(kept, dir)
				break
			}
		}
	}
	return strings.Join(kept, ":")
}
