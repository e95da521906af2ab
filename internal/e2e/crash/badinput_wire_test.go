package crash_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// post writes a request with a JSON body by hand.
func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", path, len(body), body)
}

func TestGarbageOnTheSocketsIsRefusedAndTheDaemonLives(t *testing.T) {
	l := start(t, lab.Options{Limits: "defaults: {max_containers_per_user: null}\n"})
	l.OK("alice", "docker", "create", "--name", "web", "busybox")
	get := func(target, headers string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: d\r\n" + headers + "Connection: close\r\n\r\n"
	}
	const ok = `{"Image":"busybox"}`
	deep := strings.Repeat(`{"Image":`, 5000) + "1" + strings.Repeat("}", 5000)
	for name, c := range map[string]struct {
		raw    string
		status []int // 0: closed without an answer
	}{
		"raw bytes":                        {"\x00\x01\x02\xff\xfe\r\n\r\n", []int{0, 400}},
		"a TLS hello":                      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500), []int{0, 400}},
		"a line without end":               {"GET /" + strings.Repeat("a", 100_000), []int{0, 400, 414, 431}},
		"huge headers":                     {get("/containers/json", "X-Big: "+strings.Repeat("a", 100_000)+"\r\n"), []int{431}},
		"many headers":                     {get("/containers/json", strings.Repeat("X-A: b\r\n", 20_000)), []int{431}},
		"an HTTP/2 preface":                {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{0, 400, 403, 505}},
		"an upgrade to h2c":                {get("/containers/json", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), []int{400}},
		"an upgrade to a web socket":       {get("/containers/web/attach/ws", "Upgrade: websocket\r\n"), []int{400, 403}},
		"an absolute request line":         {get("http://docker/containers/json", ""), []int{400}},
		"a request line for another":       {get("//docker/containers/json", ""), []int{400, 301}},
		"CONNECT":                          {"CONNECT d:80 HTTP/1.1\r\nHost: d\r\n\r\n", []int{400, 403}},
		"OPTIONS *":                        {"OPTIONS * HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n", []int{400, 403, 404}},
		"TRACE":                            {"TRACE /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n", []int{403, 404}},
		"an encoded slash":                 {get("/containers/web%2Fjson", ""), []int{400}},
		"an encoded letter":                {get("/containers/%77eb/json", ""), []int{400}},
		"a path that climbs":               {get("/containers/../info", ""), []int{400, 301}},
		"an encoded climb":                 {get("/containers/%2e%2e/info", ""), []int{400, 301}},
		"a doubled slash":                  {get("/containers//json", ""), []int{400, 301}},
		"a backslash":                      {get("/containers/web\\json", ""), []int{400}},
		"a query key twice":                {get("/containers/json?all=1&all=0", ""), []int{400}},
		"an unknown query key":             {get("/containers/json?evil=1", ""), []int{403}},
		"a broken query":                   {get("/containers/json?all=%zz", ""), []int{400}},
		"a broken filter":                  {get("/containers/json?filters=%7B", ""), []int{400}},
		"an unknown route":                 {post("/swarm/init", "{}"), []int{403}},
		"an unknown version":               {get("/v9.99/containers/json", ""), []int{400, 403}},
		"a body that isn't JSON":           {post("/containers/create", "hello"), []int{400}},
		"no body":                          {post("/containers/create", ""), []int{400}},
		"two documents":                    {post("/containers/create", ok+ok), []int{400}},
		"a list":                           {post("/containers/create", "["+ok+"]"), []int{400}},
		"a duplicate key":                  {post("/containers/create", `{"Image":"busybox","Image":"busybox"}`), []int{400}},
		"a key in other case":              {post("/containers/create", `{"image":"busybox"}`), []int{400}},
		"a privileged key in other case":   {post("/containers/create", `{"Image":"busybox","HostConfig":{"privileged":true}}`), []int{400}},
		"an unknown field":                 {post("/containers/create", `{"Image":"busybox","Evil":1}`), []int{400}},
		"an unknown field of HostConfig":   {post("/containers/create", `{"Image":"busybox","HostConfig":{"Evil":1}}`), []int{400}},
		"invalid UTF-8":                    {post("/containers/create", "{\"Image\":\"busy\xffbox\"}"), []int{400}},
		"deep nesting":                     {post("/containers/create", deep), []int{400}},
		"an oversized body":                {post("/containers/create", `{"Image":"`+strings.Repeat("a", 3<<20)+`"}`), []int{400, 413}},
		"a form":                           {strings.Replace(post("/containers/create", "Image=busybox"), "application/json", "application/x-www-form-urlencoded", 1), []int{400}},
		"a multipart form":                 {strings.Replace(post("/containers/create", ok), "application/json", "multipart/form-data; boundary=x", 1), []int{400}},
		"two lengths":                      {strings.Replace(post("/containers/create", ok), "Host: d", "Host: d\r\nContent-Length: 3", 1), []int{400}},
		"a length and chunks":              {strings.Replace(post("/containers/create", ok), "Host: d", "Host: d\r\nTransfer-Encoding: chunked", 1), []int{400}},
		"an unknown transfer encoding":     {strings.Replace(post("/containers/create", ok), "Host: d", "Host: d\r\nTransfer-Encoding: gzip", 1), []int{400, 501}},
		"two hosts":                        {strings.Replace(get("/_ping", ""), "Host: d", "Host: d\r\nHost: e", 1), []int{400}},
		"a start with a host config":       {post(fmt.Sprintf("/containers/web._.%d/start", l.UID("alice")), `{"Privileged":true}`), []int{400}},
		"a container's name with an owner": {post("/containers/create?name=web._.0", ok), []int{400}},
		"a name that climbs":               {post("/containers/create?name=../x", ok), []int{400}},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := speak(t, l, "run/docker.sock", c.raw)
			if !slices.Contains(c.status, status) {
				t.Errorf("status %d, not one of %v: %s", status, c.status, answer)
			}
		})
	}
	for name, raw := range map[string]string{
		"raw bytes": "\x00\x01\r\n\r\n", "huge headers": get("/v1/me", "X-Big: "+strings.Repeat("a", 100_000)+"\r\n"),
		"an unknown field": post("/v1/containers", `{"name":"x","evil":1}`), "a list": post("/v1/containers", `[]`), "no JSON": post("/v1/containers", `}`),
		"a key in other case":            post("/v1/containers", `{"Name":"x"}`),
		"a duplicate key":                post("/v1/containers", `{"name":"x","name":"y"}`),
		"two documents":                  post("/v1/containers", `{"name":"x"}{"name":"y"}`),
		"an oversized body":              post("/v1/containers", `{"name":"`+strings.Repeat("a", 6<<20)+`"}`),
		"a form":                         strings.Replace(post("/v1/containers", "name=x"), "application/json", "application/x-www-form-urlencoded", 1),
		"garbage below /docker":          get("/docker/containers/web%2Fjson", ""),
		"an absolute line below /docker": get("http://d/docker/containers/json", ""),
		"h2c below /docker":              get("/docker/containers/json", "Upgrade: h2c\r\n"),
		"a climb out of /docker":         get("/docker/../v1/containers", ""),
		"no such route":                  get("/v2/containers", ""),
	} {
		t.Run("the API socket: "+name, func(t *testing.T) {
			if status, answer := speak(t, l, "run/ds01/ds01.sock", raw); status < 300 && status != 0 || status >= 500 {
				t.Errorf("status %d: %s", status, answer)
			}
		})
	}
	if n := len(l.EngineContainers()); n != 1 {
		t.Errorf("garbage made containers: there are %d", n)
	}
	if strings.Contains(l.Log(), "panic") {
		t.Error("a handler panicked")
	}
	l.OK("alice", "docker", "rm", "web")
	lab.Clean(t, l)
}

// speak sends bytes to a socket and returns the status of the answer, 0 where
// the connection was closed without one.
func speak(t *testing.T, l *lab.Lab, socket, raw string) (status int, answer string) {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(l.Root, socket))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(15 * time.Second))
	go func() {
		io.WriteString(conn, raw) // it may be cut off
		conn.(*net.UnixConn).CloseWrite()
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data)
}
