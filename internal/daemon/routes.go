package daemon

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/bits"
	"net/netip"
	"os"
	"strings"
)

// routes returns where the host sends packets to: a network with addresses of
// these would cut it off from others. Ways to everywhere don't count.
func routes() ([]netip.Prefix, error) {
	table, err := os.Open("/proc/net/route")
	if err != nil {
		return nil, fmt.Errorf("read the host's routes: %w", err)
	}
	defer table.Close() //nolint:errcheck // read only
	return readRoutes(table)
}

// readRoutes reads the kernel's table: below its heading, the second column is
// the destination and the eighth the mask, both as the machine keeps numbers.
func readRoutes(table io.Reader) ([]netip.Prefix, error) {
	var all []netip.Prefix
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[0] == "Iface" {
			continue
		}
		destination, err := fromHex(f[1])
		if err != nil {
			return nil, err
		}
		mask, err := fromHex(f[7])
		if err != nil {
			return nil, err
		}
		if ones := bits.OnesCount32(mask); ones > 0 {
			var address [4]byte
			binary.NativeEndian.PutUint32(address[:], destination)
			all = append(all, netip.PrefixFrom(netip.AddrFrom4(address), ones))
		}
	}
	return all, lines.Err()
}

func fromHex(text string) (uint32, error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != 4 {
		return 0, fmt.Errorf("read the host's routes: %q is no address", text)
	}
	return binary.BigEndian.Uint32(data), nil
}
