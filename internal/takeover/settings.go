package takeover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A member is one of a JSON object, as it is written.
type member struct {
	key   string
	value json.RawMessage
}

// members reads a JSON object in the order it is written in. A key that is
// there twice is an error: the engine would take the last.
func members(text []byte) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("it is no JSON object"), err)
	}
	var all []member
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var m member
		m.key, _ = key.(string) // keys of objects are
		if err := dec.Decode(&m.value); err != nil {
			return nil, err
		}
		if index(all, m.key) >= 0 {
			return nil, fmt.Errorf("%q is in it twice", m.key)
		}
		all = append(all, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return all, nil
}

func index(all []member, key string) int {
	return slices.IndexFunc(all, func(m member) bool { return m.key == key })
}

// write returns the object with each member on its line. What an
// administrator wrote in a value stays as it is.
func write(all []member, indent string) []byte {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range all {
		if i > 0 {
			out.WriteByte(',')
		}
		key, _ := json.Marshal(m.key) // a text can be written
		fmt.Fprintf(&out, "\n%s%s: %s", indent, key, m.value)
	}
	if len(all) > 0 {
		out.WriteByte('\n')
	}
	out.WriteByte('}')
	return out.Bytes()
}

// indentOf returns what stands before the first key.
func indentOf(text []byte) string {
	_, rest, _ := strings.Cut(string(text), "{")
	before, _, ok := strings.Cut(rest, `"`)
	if i := strings.LastIndexByte(before, '\n'); ok && i >= 0 && strings.TrimSpace(before) == "" {
		return before[i+1:]
	}
	return "  "
}

// Settings returns the engine's settings, daemon.json, as ds01 needs them:
// containers run on while the engine restarts, its own bridge lets nobody
// reach anybody, no other runtime than runc is the default, and ds01's is
// known. All other keys stay, and so does what is said of these two: runtimes
// beside ds01's, and "icc". What a word on the engine's command line says isn't
// said in the file, which the engine would refuse. Notes say what is left as it
// is and takes something from ds01.
func Settings(text []byte, command []string) (settings []byte, notes []string, err error) {
	all := []member{}
	if len(bytes.TrimSpace(text)) > 0 {
		if all, err = members(text); err != nil {
			return nil, nil, err
		}
	}
	was := len(all)
	set := func(key, value string) {
		if i := index(all, key); i >= 0 {
			all[i].value = json.RawMessage(value)
		} else {
			all = append(all, member{key, json.RawMessage(value)})
		}
	}
	changed := false
	if i := index(all, "live-restore"); (i < 0 || string(all[i].value) != "true") && !flagged(command, "live-restore") {
		set("live-restore", "true")
		changed = true
	}
	switch i := index(all, "icc"); {
	case i >= 0 && string(all[i].value) != "false":
		notes = append(notes, `"icc" is set in daemon.json and stays: steps of builds by BuildKit get no network until it is false.`)
	case i < 0 && !flagged(command, "icc"):
		set("icc", "false")
		changed = true
	}
	if i := index(all, "default-runtime"); i >= 0 && string(all[i].value) != `"runc"` {
		all = slices.Delete(all, i, i+1)
		changed = true
	}
	runtimes := []member{}
	if i := index(all, "runtimes"); i >= 0 {
		if runtimes, err = members(all[i].value); err != nil {
			return nil, nil, fmt.Errorf("runtimes: %w", err)
		}
	}
	indent := indentOf(text)
	if index(runtimes, "ds01") < 0 && !flagged(command, "add-runtime") {
		runtimes = append(runtimes, member{"ds01", json.RawMessage(`{"path": "/usr/lib/ds01/ds01-runtime"}`)})
		inner := bytes.ReplaceAll(write(runtimes, indent), []byte("\n"), []byte("\n"+indent))
		if len(runtimes) > 1 { // theirs are as they were
			inner = addMember(all[index(all, "runtimes")].value, runtimes[len(runtimes)-1], indent)
		}
		set("runtimes", string(inner))
		changed = true
	}
	if !changed {
		return text, notes, nil
	}
	if was == 0 {
		indent = "  "
	}
	return append(write(all, indent), '\n'), notes, nil
}

// saysLive reports whether settings let containers outlive the engine.
func saysLive(text []byte) bool {
	all, err := members(text)
	i := index(all, "live-restore")
	return err == nil && i >= 0 && string(all[i].value) == "true"
}

// addMember puts a member behind the last of a JSON object that has some, and
// leaves the rest as it is written.
func addMember(object []byte, m member, indent string) []byte {
	body := bytes.TrimRight(bytes.TrimSuffix(bytes.TrimSpace(object), []byte("}")), " \t\r\n")
	key, _ := json.Marshal(m.key) // a text can be written
	return fmt.Appendf(nil, "%s,\n%s%s%s: %s\n%s}", body, indent, indent, key, m.value, indent)
}

// flagged reports whether a flag is among a program's words.
func flagged(words []string, flag string) bool {
	_, ok := valueOf(words, flag)
	return ok
}

// valueOf returns the value of a flag among a program's words: "true" for one
// that has none.
func valueOf(words []string, names ...string) (string, bool) {
	for i, word := range words {
		bare, value, has := strings.Cut(word, "=")
		flag := strings.TrimLeft(bare, "-")
		if !strings.HasPrefix(bare, "-") || !slices.Contains(names, flag) {
			continue
		}
		switch {
		case has:
			return value, true
		case i+1 < len(words) && !strings.HasPrefix(words[i+1], "-"):
			return words[i+1], true
		default:
			return "true", true
		}
	}
	return "", false
}
