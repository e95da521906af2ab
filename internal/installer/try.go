package installer

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/redteam"
)

// Lookup finds an account by its name.
type Lookup func(name string) (account.Account, error)

// tried is the name of the image and of the container that are tried.
const tried = "ds01-install-try"

// Try has a person make an image of nothing but a program that ends at once,
// run it through the gateway, and remove both; and sees that the engine's own
// socket doesn't let them in. It needs no registry and no image of the host's.
func Try(ctx context.Context, lookup Lookup, user, gateway, engine string) error {
	who, err := lookup(user)
	if err != nil {
		return fmt.Errorf("who %s is: %w", user, err)
	}
	p := redteam.Person{UID: who.UID, GID: who.GID, Login: who.Name}
	for _, g := range who.Groups {
		p.Groups = append(p.Groups, g.GID)
	}
	if conn, err := p.Dial(ctx, engine); err == nil {
		return errors.Join(fmt.Errorf("%s can connect to the engine's own socket, %s", user, engine), conn.Close())
	}
	t := trial{client: http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return p.Dial(ctx, gateway) },
		DisableKeepAlives: true, // connections are the person's, and this process's soon again
	}}}
	err = t.run(ctx)
	return errors.Join(err, t.clean(context.WithoutCancel(ctx)))
}

// trial is one run through the gateway.
type trial struct {
	client http.Client
	made   bool // the image
	id     string
}

func (t *trial) run(ctx context.Context) error {
	layer, err := image()
	if err != nil {
		return err
	}
	query := url.Values{"fromSrc": {"-"}, "repo": {tried}, "tag": {"latest"}}
	t.made = true
	if err := t.ask(ctx, http.MethodPost, "/images/create?"+query.Encode(), "application/x-tar", layer, nil); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"Image": tried, "Cmd": []string{"/end"}})
	if err != nil {
		return err
	}
	var made struct {
		ID string `json:"Id"`
	}
	if err := t.ask(ctx, http.MethodPost, "/containers/create?name="+tried, "application/json", body, &made); err != nil {
		return err
	}
	t.id = made.ID
	if err := t.ask(ctx, http.MethodPost, "/containers/"+t.id+"/start", "", nil, nil); err != nil {
		return err
	}
	var ended struct{ StatusCode int }
	if err := t.ask(ctx, http.MethodPost, "/containers/"+t.id+"/wait", "", nil, &ended); err != nil {
		return err
	}
	if ended.StatusCode != 0 {
		return fmt.Errorf("the container that was tried ended with %d", ended.StatusCode)
	}
	return nil
}

func (t *trial) clean(ctx context.Context) error {
	var errs []error
	if t.id != "" {
		errs = append(errs, t.ask(ctx, http.MethodDelete, "/containers/"+t.id+"?force=1", "", nil, nil))
	}
	if t.made {
		err := t.ask(ctx, http.MethodDelete, "/images/"+tried, "", nil, nil)
		if !errors.Is(err, errMissing) { // it wasn't made
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

var errMissing = errors.New("there is none")

// ask sends a request through the gateway.
func (t *trial) ask(ctx context.Context, method, path, kind string, body []byte, answer any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://docker/v1.41"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	resp, err := t.client.Do(r)
	if err != nil {
		return fmt.Errorf("%s %s through the gateway: %w", method, path, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	said, err := io.ReadAll(resp.Body)
	if resp.StatusCode >= http.StatusBadRequest {
		var refusal struct{ Message string }
		_ = json.Unmarshal(said, &refusal) // else there is nothing to tell
		failed := fmt.Errorf("%s %s through the gateway: %s: %s", method, path, resp.Status, refusal.Message)
		if resp.StatusCode == http.StatusNotFound {
			failed = errors.Join(failed, errMissing)
		}
		return failed
	}
	if err == nil && answer != nil {
		err = json.Unmarshal(said, answer)
	}
	return err
}

// image returns the layer of an image: a program, /end, that ends with 0.
func image() ([]byte, error) {
	program, err := ending(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "end", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	return layer.Bytes(), w.Close()
}

// ending returns a whole program, an ELF file with one segment, whose only
// instructions are Linux's exit(0).
func ending(arch string) ([]byte, error) {
	var machine uint16
	var code []byte
	switch arch {
	case "amd64":
		machine, code = 62, []byte{0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05} // mov eax, 60; xor edi, edi; syscall
	case "arm64":
		machine, code = 183, []byte{0xa8, 0x0b, 0x80, 0xd2, 0, 0, 0x80, 0xd2, 1, 0, 0, 0xd4} // mov x8, 93; mov x0, 0; svc 0
	default:
		return nil, fmt.Errorf("no container is tried on %s", arch)
	}
	const at, head = 0x400000, 64 + 56
	size := uint64(head + len(code))
	var out []byte
	out = append(out, 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0) // 64 bits, little end first
	half := func(n uint16) { out = binary.LittleEndian.AppendUint16(out, n) }
	word := func(n uint32) { out = binary.LittleEndian.AppendUint32(out, n) }
	long := func(n uint64) { out = binary.LittleEndian.AppendUint64(out, n) }
	half(2) // a program
	half(machine)
	word(1)
	long(at + head) // where it begins
	long(64)        // where the table of segments is
	long(0)         // no sections
	word(0)
	half(64)
	half(56)
	half(1) // one segment
	half(64)
	half(0)
	half(0)
	word(1) // loaded,
	word(5) // to be read and executed
	long(0)
	long(at)
	long(at)
	long(size)
	long(size)
	long(0x1000)
	return append(out, code...), nil
}
