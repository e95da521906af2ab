package client

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

func frame(stream byte, text string) string {
	header := make([]byte, frameHeader)
	header[0] = stream
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return string(header) + text
}

func TestDemultiplexReportsWhatIsNotAWholeStream(t *testing.T) {
	for name, c := range map[string]struct{ stream, want string }{
		"an engine's error frame":       {frame(3, "disk full"), "disk full"},
		"a header cut short":            {frame(1, "a")[:4], "unexpected EOF"},
		"a payload cut short":           {frame(1, "abc")[:9], "unexpected EOF"},
		"a terminal's stream, no frame": {"root@web:/# ls", "isn't multiplexed"},
	} {
		t.Run(name, func(t *testing.T) {
			err := demultiplex(io.Discard, io.Discard, strings.NewReader(c.stream))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzDemultiplex(f *testing.F) {
	f.Add([]byte(frame(1, "out")+frame(2, "err")), "x", "y")
	f.Add([]byte{1, 0, 0, 0, 255, 255, 255, 255}, "", "")
	f.Fuzz(func(t *testing.T, raw []byte, out, errs string) {
		_ = demultiplex(io.Discard, io.Discard, bytes.NewReader(raw)) // must end, whatever it reads
		var stdout, stderr strings.Builder
		stream := frame(2, errs) + frame(1, out) + frame(2, errs)
		if err := demultiplex(&stdout, &stderr, strings.NewReader(stream)); err != nil {
			t.Fatal(err)
		}
		if stdout.String() != out || stderr.String() != errs+errs {
			t.Errorf("got %q and %q", stdout.String(), stderr.String())
		}
	})
}
