package gateway

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkEdit edits a list of two hundred containers as an administrator sees it.
func BenchmarkEdit(b *testing.B) {
	const row = `{"Id":"%064x","Names":["/x%[1]d._.1001"],"Image":"sha256:45d437916d5781043432f2d72608049dcf74ddbd27daa01a25fa63c8f1b9adc4","ImageID":"sha256:45d437916d5781043432f2d72608049dcf74ddbd27daa01a25fa63c8f1b9adc4","Command":"sleep 100000","Created":1764345000,"Ports":[],"Labels":{"aime.mlc":"alice","aime.mlc.NAME":"x%[1]d","aime.mlc.USER":"alice","ds01.claim":"0c50cb77102f7e7d","ds01.interface":"docker","ds01.origin":"terminal","ds01.user":"alice"},"State":"running","Status":"Up 5 minutes","HostConfig":{"NetworkMode":"ds01-1001"},"NetworkSettings":{"Networks":{"ds01-1001":{"IPAMConfig":null,"Links":null,"Aliases":null,"NetworkID":"45d437916d5781043432f2d72608049dcf74ddbd27daa01a25fa63c8f1b9adc4","EndpointID":"","Gateway":"10.9.0.1","IPAddress":"10.9.0.2","IPPrefixLen":24,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"MacAddress":"02:42:0a:09:00:02","DriverOpts":null}}},"Mounts":[{"Type":"bind","Source":"/home/alice","Destination":"/workspace","Mode":"","RW":true,"Propagation":"rprivate"}]}`
	list := []byte("[")
	for i := range 200 {
		if i > 0 {
			list = append(list, ',')
		}
		list = fmt.Appendf(list, row, i)
	}
	list = append(list, "]\n"...)
	b.SetBytes(int64(len(list)))
	out := make([]byte, 0, 2*len(list))
	for b.Loop() {
		edited, err := editArray(out, list, func(out, row []byte) ([]byte, error) {
			if id, err := member(row, "Id"); err != nil || len(id) != 66 {
				return out, fmt.Errorf("%s: %w", id, err)
			}
			return editObject(out, row, []string{"Image"}, func(out []byte, _ string, _ []byte) ([]byte, error) {
				return append(out, `"busybox"`...), nil
			})
		})
		if err != nil || !bytes.HasSuffix(edited, []byte("}]")) {
			b.Fatal(err)
		}
	}
}
