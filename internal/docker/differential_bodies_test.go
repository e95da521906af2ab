package docker_test

import (
	dcontainer "github.com/docker/docker/api/types/container"
	dnetwork "github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/registry"
	dvolume "github.com/docker/docker/api/types/volume"

	"ds01.dev/ds01/internal/admission"
)

// A body is what a client writes on one route, and how ds01 and the engine
// read it.
type body struct {
	op      admission.Op
	clients string   // stock clients' bodies, a pattern of files
	bases   []string // bodies that are accepted; the first is tried with each field of the engine's type
	tricks  []string // bodies that say more than one field can
	read    any      // the engine's own type
	send    func(w *world, data []byte) (sent []byte, err error)
	policy  func(w *world, read any) rules
}

func bodies() []body {
	return []body{
		createBody(), updateBody(), execBody(), execStartBody(), networkBody(),
		connectBody(), disconnectBody(), volumeBody(), commitBody(), loginBody(),
	}
}

func createBody() body {
	const gpu = `"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]`
	return body{
		op: admission.ContainerCreate, clients: "../admission/testdata/clients/*.json",
		bases: []string{
			`{"Image":"x","HostConfig":{}}`,
			`{"Image":"x","ExposedPorts":{"81/tcp":{}},"HostConfig":{` + gpu + `,"PublishAllPorts":true}}`,
			`{"Image":"x","Env":["NVIDIA_VISIBLE_DEVICES=all"],"HostConfig":{"Runtime":"nvidia","Binds":["/home/alice/w:/w","data:/d:ro"],"VolumesFrom":["other:ro"]}}`,
			`{"Image":"x","Healthcheck":{"Test":["NONE"]},"HostConfig":{"NetworkMode":"net","RestartPolicy":{"Name":"always"}},"NetworkingConfig":{"EndpointsConfig":{"net":{"Aliases":["a"]}}}}`,
		},
		tricks: []string{
			`{"Image":"x","hostconfig":{"PRIVILEGED":true}}`,
			`{"HostConfig":{"Privileged":true},"HostConfig":{}}`,
			`{"Env":["LD_PRELOAD=/x.so","LD_LIBRARY_PATH=/usr/../home/x"],"HostConfig":{` + gpu + `}}`,
			`{"Env":["LD_LIBRARY_PATH=/usr/lib:/opt/x","NVIDIA_DRIVER_CAPABILITIES=all","CUDA_VISIBLE_DEVICES=1"],"HostConfig":{` + gpu + `}}`,
			`{"User":"0","HostConfig":{"Binds":["/home/alice:/a"],"GroupAdd":["0"],"CapDrop":[],"SecurityOpt":["no-new-privileges:false"]}}`,
			`{"User":"1001","HostConfig":{"Binds":["/data/x:/a:rw","/home/alice:/b:rshared"],"GroupAdd":["2000"],"Tmpfs":{"/t":"size=1m,exec"}}}`,
			`{"HostConfig":{"Memory":-1,"MemorySwap":-1,"PidsLimit":-1,"NanoCpus":0,"ShmSize":0,"Ulimits":[{"Name":"nofile","Soft":9,"Hard":-1},{"Name":"core","Soft":-1,"Hard":-1}]}}`,
			`{"HostConfig":{"Memory":6291456,"MemorySwap":3221225472,"MemoryReservation":2147483648,"Tmpfs":{"/t":"size=6291457"}}}`,
			`{"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"22"}],"81":[{"HostPort":"20001-20009"}]}}}`,
			`{"HostConfig":{"NetworkMode":"container:other","PublishAllPorts":true}}`,
			`{"HostConfig":{"Links":["other:db"],"ExtraHosts":["a:10.1.2.3","b:::1"]}}`,
			`{"HostConfig":{"NetworkMode":"net"},"NetworkingConfig":{"EndpointsConfig":{"net":{"Links":["other:db","other"]}}}}`,
			`{"HostConfig":{"NetworkMode":"none","Links":["other:db"],"ExtraHosts":["a:1.2.3.4\n5.6.7.8 b"]}}`,
			`{"HostConfig":{"Links":["victim:db"],"ExtraHosts":["a:host-gateway"]}}`,
			`{"NetworkDisabled":true,"Healthcheck":{"Interval":1000000000,"StartInterval":1000000000},"Labels":{"com.docker.compose.project":"x"}}`,
		},
		read: dcontainer.CreateRequest{}, send: (*world).create, policy: containerPolicy,
	}
}

func updateBody() body {
	return body{
		op: admission.ContainerUpdate, clients: "../admission/testdata/updates/*.json",
		bases:  []string{`{}`},
		tricks: []string{`{"Memory":1073741824,"MemorySwap":-1,"MemoryReservation":2147483648}`, `{"MemoryReservation":2147483648,"MemorySwap":4294967296}`},
		read:   dcontainer.UpdateConfig{}, send: (*world).update, policy: updatePolicy,
	}
}

func execBody() body {
	return body{
		op: admission.ExecCreate, clients: "../admission/testdata/exec/*.json",
		bases:  []string{`{"Cmd":["sh"]}`},
		tricks: []string{`{"Cmd":"sh","User":"1001:1001","WorkingDir":"/w/../proc/"}`},
		read:   dcontainer.ExecOptions{}, send: (*world).exec, policy: execPolicy,
	}
}

func execStartBody() body {
	return body{
		op: admission.ExecStart, bases: []string{`{}`},
		read: dcontainer.ExecStartOptions{}, send: (*world).execStart, policy: execStartPolicy,
	}
}

func networkBody() body {
	return body{
		op: admission.NetworkCreate, bases: []string{`{"Name":"net","Driver":"bridge"}`},
		tricks: []string{`{"Name":"net","Options":{"com.docker.network.driver.mtu":"1400","com.docker.network.bridge.enable_icc":"0"},"IPAM":{"Driver":"default","Config":[{"Subnet":"10.0.0.0/8"}]}}`},
		read:   dnetwork.CreateRequest{}, send: (*world).network, policy: networkPolicy,
	}
}

func connectBody() body {
	return body{
		op: admission.NetworkConnect, bases: []string{`{"Container":"mine","EndpointConfig":{}}`, `{"Container":"mine","EndpointConfig":{"Links":["other:db"]}}`},
		read: dnetwork.ConnectOptions{}, send: (*world).connect, policy: connectPolicy,
	}
}

func disconnectBody() body {
	return body{
		op: admission.NetworkDisconnect, bases: []string{`{"Container":"mine"}`},
		read: dnetwork.DisconnectOptions{}, send: (*world).disconnect, policy: disconnectPolicy,
	}
}

func volumeBody() body {
	return body{
		op: admission.VolumeCreate, bases: []string{`{}`, `{"Name":"data","Driver":"local"}`},
		read: dvolume.CreateOptions{}, send: (*world).volume, policy: volumePolicy,
	}
}

// The engine reads the body of a commit as that of a create.
func commitBody() body {
	return body{
		op: admission.ImageCommit, bases: []string{`{}`}, tricks: []string{``, `null`},
		read: dcontainer.CreateRequest{}, send: (*world).commit, policy: commitPolicy,
	}
}

func loginBody() body {
	return body{
		op: admission.Auth, bases: []string{`{"username":"a","password":"b"}`},
		read: registry.AuthConfig{}, send: (*world).login, policy: loginPolicy,
	}
}
