package admission_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// taken says of every field that a client may set what becomes of it.
func taken() map[string]string {
	const asIs, within, tightened = "goes on", "kept within the limits; nothing asked becomes the limit", "rewritten"
	return map[string]string{
		"Hostname": asIs, "User": "goes on; beside host mounts on an engine without remapping, or whose file system can't map ids, the caller's own",
		"AttachStdin": asIs, "AttachStdout": asIs, "AttachStderr": asIs, "ExposedPorts": asIs, "Tty": asIs, "OpenStdin": asIs, "StdinOnce": asIs,
		"Env": "goes on without `NVIDIA_*` and `CUDA_VISIBLE_DEVICES`, and takes away those that the image brings; beside GPUs whose libraries a hook brings, no `LD_*` but a harmless `LD_LIBRARY_PATH`", "Cmd": asIs, "Entrypoint": asIs, "NetworkDisabled": asIs, "StopSignal": asIs,
		"Healthcheck": "goes on; once a second at most, also where the image says more", "Image": "replaced by the image's full id", "WorkingDir": "goes on; not in `/proc`",
		"Labels": "go on; `aime.mlc*` and `ds01*` are ours", "StopTimeout": within,

		"HostConfig.Binds": "read as mounts of what the limits' `mounts` allow, and of one's own volumes, replaced by our own", "HostConfig.Mounts": "`bind`, `volume` and `tmpfs` only, replaced by our own",
		"Volumes": "mounts of volumes that go with the container", "HostConfig.VolumesFrom": "read as mounts, of one's own container",
		"HostConfig.PortBindings": "ports of one's own range, each fixed when the container is made", "HostConfig.PublishAllPorts": "becomes PortBindings",
		"HostConfig.Tmpfs": tightened + ": nosuid, nodev, no larger than Memory", "HostConfig.LogConfig": "`json-file` (capped) or `none`",
		"HostConfig.NetworkMode":   "`none`, one's own networks, `container:` with one's own; `default` and `bridge` are the person's own default network",
		"HostConfig.RestartPolicy": "followed by ds01: `no`, `always`, `unless-stopped`, `on-failure`; the engine gets `no`",
		"HostConfig.Runtime":       "not sent; `nvidia` with `NVIDIA_VISIBLE_DEVICES` in `Env` asks for that many GPUs",
		"HostConfig.AutoRemove":    asIs, "HostConfig.CapDrop": "goes on; MKNOD is dropped always",
		"HostConfig.GroupAdd": "goes on; one's own groups where the container runs as the caller", "HostConfig.IpcMode": "`private`, `none`", "HostConfig.CgroupnsMode": "`private`",
		"HostConfig.ExtraHosts": "lines of the container's `/etc/hosts`, NAME:ADDRESS; `host-gateway` is refused", "HostConfig.Links": "become names on the container's networks, of one's own containers",
		"HostConfig.Init": asIs, "HostConfig.ReadonlyRootfs": asIs, "HostConfig.SecurityOpt": "`no-new-privileges`", "HostConfig.OomScoreAdj": "goes on; not below 0",
		"HostConfig.ShmSize": within, "HostConfig.Ulimits": "core, memlock, nproc, stack go on; nofile is " + within,
		"HostConfig.Memory": within, "HostConfig.MemorySwap": within, "HostConfig.MemoryReservation": "goes on; not above Memory",
		"HostConfig.NanoCpus": within, "HostConfig.CpuShares": "goes on; 1024 at most", "HostConfig.CpusetCpus": asIs, "HostConfig.PidsLimit": within,
		"HostConfig.DeviceRequests": "what is wanted of GPUs: a number, or IDs that are profiles, sizes, slots or UUIDs (`docs/users/gpus.md`); replaced by the devices granted",
		"HostConfig.Devices":        "names `ds01.io/gpu=…` only, read as a wish for GPUs as IDs are; not sent",
		"HostConfig.CgroupParent":   "refused; ours is written", "HostConfig.UsernsMode": "refused; `host` is written where a mount's file system can't map ids", "HostConfig.DeviceCgroupRules": "refused; ours are written",
		"NetworkingConfig": "one's own networks, with aliases and links to one's own containers; replaced by our own. Where `NetworkMode` says nothing, those are all",
	}
}

// mayNotBeSet tells whether a field's type lets nobody set it.
func mayNotBeSet(t reflect.Type) bool {
	return t == reflect.TypeFor[admission.Unset]() || t == reflect.TypeFor[admission.Given]()
}

// eachField calls f for each field of a struct type and of those below it,
// with its JSON path and a document that sets it.
func eachField(typ reflect.Type, path string, wrap func(string) string, f func(path string, typ reflect.Type, set func(value string) string)) {
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		at := strings.TrimPrefix(path+"."+name, ".")
		set := func(value string) string { return wrap(fmt.Sprintf("%q:%s", name, value)) }
		f(at, field.Type, set)
		object := func(inner string) string { return set("{" + inner + "}") }
		switch t := field.Type; {
		case mayNotBeSet(t):
		case t.Kind() == reflect.Struct && t != reflect.TypeFor[admission.Ignored]():
			eachField(t, at, object, f)
		case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
			eachField(t.Elem(), at, object, f)
		case t == reflect.TypeFor[[]admission.MountPoint]():
			eachField(t.Elem(), at, func(inner string) string {
				if strings.HasPrefix(inner, `"VolumeOptions"`) {
					return set(`[{"Type":"volume","Source":"data","Target":"/a",` + inner + `}]`)
				}
				return set(`[{"Type":"bind","Source":"/home/alice","Target":"/a",` + inner + `}]`)
			}, f)
		case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Pointer:
			eachField(t.Elem().Elem(), at, func(inner string) string { return set(`{"bridge":{` + inner + `}}`) }, f)
		}
	}
}

func TestEachFieldThatNobodyMaySetIsRefused(t *testing.T) {
	fields := 0
	eachField(reflect.TypeFor[admission.Create](), "", func(inner string) string { return "{" + inner + "}" },
		func(path string, typ reflect.Type, set func(string) string) {
			if !mayNotBeSet(typ) {
				return
			}
			fields++
			for _, value := range []string{`["x"]`, `{"x":"y"}`, `1`, `true`, `"x"`} {
				_, err := review(t, admission.UserNS, set(value))
				if problem.HTTPStatus(err) != 403 {
					t.Errorf("%s: %v", set(value), err)
				}
			}
			for _, value := range []string{"null", `""`, "0", "false"} {
				if typ == reflect.TypeFor[admission.Given]() && value != "null" {
					continue
				}
				c, err := review(t, admission.UserNS, set(value))
				if err != nil {
					t.Errorf("%s asks for nothing: %v", set(value), err)
				}
				last := path[strings.LastIndex(path, ".")+1:]
				if text := encode(t, c); strings.Contains(text, fmt.Sprintf("%q", last)) {
					t.Errorf("%s is sent: %s", path, text)
				}
			}
		})
	if fields < 50 {
		t.Errorf("only %d fields were tried", fields)
	}
}

func TestEachFieldThatMayBeSetIsAccountedFor(t *testing.T) {
	known := taken()
	eachField(reflect.TypeFor[admission.Create](), "", func(s string) string { return s }, func(path string, typ reflect.Type, _ func(string) string) {
		switch {
		case mayNotBeSet(typ), typ == reflect.TypeFor[admission.Ignored](), path == "HostConfig":
		case strings.Count(path, ".") > 1, strings.Contains(path, ".") && !strings.HasPrefix(path, "HostConfig."):
			// below a field that is accounted for as a whole
		case known[path] == "":
			t.Errorf("%s is taken from clients: review it, and say here how", path)
		default:
			delete(known, path)
		}
	})
	for path := range known {
		t.Errorf("%s is no field any more", path)
	}
}

func TestIgnoredFieldsAreNeverSent(t *testing.T) {
	eachField(reflect.TypeFor[admission.Create](), "", func(inner string) string { return "{" + inner + "}" },
		func(path string, typ reflect.Type, set func(string) string) {
			if typ != reflect.TypeFor[admission.Ignored]() {
				return
			}
			c := mustReview(t, admission.UserNS, set(`["sentinel"]`))
			if text := encode(t, c); strings.Contains(text, "sentinel") {
				t.Errorf("%s is sent: %s", path, text)
			}
		})
}

func TestBodiesOfClientsHoldNoFieldWeDoNotKnow(t *testing.T) {
	known := map[string]bool{}
	eachField(reflect.TypeFor[admission.Create](), "", func(s string) string { return s }, func(path string, _ reflect.Type, _ func(string) string) { known[path] = true })
	for _, client := range []string{"20.10-plain", "28-plain"} {
		var body map[string]any
		if err := json.Unmarshal(read(t, "testdata/clients/docker-"+client+".json"), &body); err != nil {
			t.Fatal(err)
		}
		for key := range body["HostConfig"].(map[string]any) {
			if !known["HostConfig."+key] {
				t.Errorf("docker %s sends HostConfig.%s", client, key)
			}
		}
	}
}
