package event_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/event"
)

var noon = time.Date(2030, 5, 17, 12, 0, 0, 123456789, time.UTC)

func sample(name string) event.Event {
	return event.Event{
		Time: noon, Door: event.Gateway, Decision: event.Allowed, Action: "container create", Route: "POST /containers/create",
		UID: 1001, User: "alice", GID: 1001, PID: 4711, Exe: "/usr/bin/docker", Object: name, Image: "busybox", GPUs: "1",
		Mounts: []string{"/home/alice/w"}, Command: "sleep",
	}
}

// sealed returns n lines of one chain.
func sealed(t testing.TB, n int) [][]byte {
	t.Helper()
	var lines [][]byte
	var last event.Link
	for i := range n {
		line, e, err := event.Seal(sample(fmt.Sprint("c", i)), last)
		if err != nil {
			t.Fatal(err)
		}
		lines, last = append(lines, line), e.Link()
	}
	return lines
}

func TestALineReadsBackAsItWasWritten(t *testing.T) {
	login, owner := 1001, 0
	e := sample("web")
	e.LoginUID, e.OwnerUID, e.Owner = &login, &owner, "root"
	line, written, err := event.Seal(e, event.Link{Seq: 41, Hash: strings.Repeat("ab", 32)})
	if err != nil {
		t.Fatal(err)
	}
	read, err := event.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(written, read); diff != "" {
		t.Error(diff)
	}
	if read.Seq != 42 || read.Prev != strings.Repeat("ab", 32) || bytes.ContainsAny(line, "\n") {
		t.Errorf("%s", line)
	}
}

// The format is what other programs read: a change of it is a breaking one.
func TestTheFormatStaysWhatItIs(t *testing.T) {
	line, _, err := event.Seal(sample("web"), event.Link{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"seq":1,"time":"2030-05-17T12:00:00.123456789Z","door":"gateway","decision":"allowed","action":"container create",` +
		`"route":"POST /containers/create","uid":1001,"user":"alice","gid":1001,"pid":4711,"exe":"/usr/bin/docker","object":"web",` +
		`"image":"busybox","gpus":"1","mounts":["/home/alice/w"],"command":"sleep",` +
		`"prev":"0000000000000000000000000000000000000000000000000000000000000000",` +
		`"hash":"HASH"}`
	got := string(line)
	hash := got[len(got)-66 : len(got)-2]
	if diff := cmp.Diff(want, strings.Replace(got, hash, "HASH", 1)); diff != "" {
		t.Error(diff)
	}
}

func TestNothingAClientSendsMakesALineThatCantBeRead(t *testing.T) {
	for name, text := range map[string]string{
		"long":             strings.Repeat("é", 1<<20),
		"no UTF-8":         "a\xff\xfeb",
		"line breaks":      "a\n\"}\r\n{",
		"control letters":  "\x00\x1b[31m",
		"separators":       "\u2028</script>",
		"looks like a end": `","hash":"` + strings.Repeat("0", 64) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			e := sample(text)
			e.Why, e.Command, e.Mounts = text, text, slices.Repeat([]string{text}, 300)
			line, _, err := event.Seal(e, event.Link{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := event.Parse(line); err != nil || bytes.ContainsAny(line, "\n\r") {
				t.Errorf("%v: %.200q", err, line)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	line := string(sealed(t, 1)[0])
	body, _, _ := strings.Cut(line, `,"hash"`)
	for name, c := range map[string]struct{ line, says string }{
		"nothing":               {"", "cut off"},
		"a line cut in two":     {line[:len(line)/2], "cut off"},
		"a line without hash":   {body + "}", "cut off"},
		"another user":          {strings.Replace(line, `"uid":1001`, `"uid":1002`, 1), "hash"},
		"a blank more":          {strings.Replace(line, `,"uid"`, `, "uid"`, 1), "hash"},
		"another hash":          {strings.Replace(line, `"hash":"`, `"hash":"0`, 1)[:len(line)-1] + "}", "cut off"},
		"an unknown key":        {forge(line, `"door"`, `"x":1,"door"`), "no audit event"},
		"a key twice":           {forge(line, `"door"`, `"pid":1,"door"`), "no audit event"},
		"a key in another case": {forge(line, `"door"`, `"Door"`), "no audit event"},
		"no number":             {forge(line, `"seq":1`, `"seq":0`), "no audit event"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := event.Parse([]byte(c.line))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestFirstWordHoldsNoSecret(t *testing.T) {
	for _, c := range []struct {
		command []string
		want    string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"sh", "-c", "TOKEN=x y"}, "sh"},
		{[]string{"python train.py --key x"}, "python"},
		{[]string{"TOKEN=secret python"}, "TOKEN=…"},
	} {
		if got := event.FirstWord(c.command); got != c.want {
			t.Errorf("%q gives %q, want %q", c.command, got, c.want)
		}
	}
	digest := "@sha256:" + strings.Repeat("a", 64)
	for image, want := range map[string]string{
		"busybox": "busybox", "me:secret@reg/x:1": "reg/x:1", "reg/x" + digest: "reg/x" + digest, "me:secret@reg/x" + digest: "reg/x" + digest,
	} {
		if got := event.Reference(image); got != want {
			t.Errorf("%q gives %q, want %q", image, got, want)
		}
	}
}
