package admission_test

import (
	"fmt"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

func TestATmpfsIsNoLargerThanTheContainersMemory(t *testing.T) {
	tmpfs := func(c admission.Create) string { return c.HostConfig.Tmpfs["/a"] }
	for name, tt := range map[string]struct{ body, want string }{
		"the whole memory":                 {`"Tmpfs":{"/a":"size=2g"}`, "nosuid,nodev,size=2147483648"},
		"as much as the container asks of": {`"Memory":1073741824,"Tmpfs":{"/a":""}`, "nosuid,nodev,size=1073741824"},
		"zero, which has no end":           {`"Tmpfs":{"/a":"size=0"}`, "nosuid,nodev,size=2147483648"},
		"less than nothing":                {`"Mounts":[{"Type":"tmpfs","Target":"/a","TmpfsOptions":{"SizeBytes":-1}}]`, "nosuid,nodev,size=2147483648"},
		"an owner":                         {`"Tmpfs":{"/a":"size=1K,uid=1000,gid=5,mode=4777,noexec,rw"}`, "nosuid,nodev,uid=1000,gid=5,mode=777,noexec,rw,size=1024"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tmpfs(mustReview(t, admission.UserNS, host(tt.body))); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	for name, body := range map[string]string{
		"more than the limit":        `"Tmpfs":{"/a":"size=3g"}`,
		"more than the container's":  `"Memory":1073741824,"Tmpfs":{"/a":"size=2097152k"}`,
		"more, as a mount":           `"Mounts":[{"Type":"tmpfs","Target":"/a","TmpfsOptions":{"SizeBytes":3221225472}}]`,
		"more than there are bytes":  `"Tmpfs":{"/a":"size=999999999999999999"}`,
		"one of two is more than is": `"Tmpfs":{"/b":"size=1g","/a":"size=2147483649"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := review(t, admission.UserNS, host(body))
			wantProblem(t, err, problem.ErrLimit, "memory of ")
		})
	}
}

func TestOptionsOfATmpfsThatTheKernelCouldReadOtherwiseAreRefused(t *testing.T) {
	for _, option := range []string{
		"size=50%", "size=0x40", "size=0100", "size=1e9", "size= 1", "size=-1", "size=", "size=9999999999999999999", "size=99999999t",
		"mode=9", "mode=77777", "mode=", "uid=root", "gid=-1", "uid=0x1", "uid=4294967295", "exec=1", "ro=0",
	} {
		_, err := review(t, admission.UserNS, host(fmt.Sprintf(`"Tmpfs":{"/a":%q}`, option)))
		wantProblem(t, err, problem.ErrInvalid, option)
	}
	for _, options := range []string{"suid", "size=1m,dev", "nr_inodes=0", "huge=always", "mpol=bind:0", "size=1m,context=x"} {
		_, err := review(t, admission.UserNS, host(fmt.Sprintf(`"Tmpfs":{"/a":%q}`, options)))
		wantProblem(t, err, problem.ErrDenied, "is not served")
	}
	_, err := review(t, admission.UserNS, host(`"Tmpfs":{"/a/":""},"Binds":["/home/alice:/a"]`))
	wantProblem(t, err, problem.ErrInvalid, "two mounts go to /a")
}
