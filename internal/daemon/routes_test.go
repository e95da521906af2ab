package daemon

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

func TestReadRoutes(t *testing.T) {
	number := func(a, b, c, d byte) string {
		return fmt.Sprintf("%08X", binary.NativeEndian.Uint32([]byte{a, b, c, d}))
	}
	line := func(iface, destination, mask string) string {
		return strings.Join([]string{iface, destination, "00000000", "0001", "0", "0", "0", mask, "0", "0", "0"}, "\t") + "\n"
	}
	table := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		line("eth0", number(0, 0, 0, 0), number(0, 0, 0, 0)) + line("eth0", number(10, 196, 0, 0), number(255, 255, 192, 0)) +
		line("tun0", number(192, 168, 7, 9), number(255, 255, 255, 255))
	got, err := readRoutes(strings.NewReader(table))
	if fmt.Sprint(got) != "[10.196.0.0/18 192.168.7.9/32]" || err != nil {
		t.Error(got, err)
	}
	if _, err := readRoutes(strings.NewReader(line("eth0", "xx", "00000000"))); err == nil {
		t.Error("nonsense was read")
	}
	if _, err := routes(); err != nil {
		t.Error(err)
	}
}
