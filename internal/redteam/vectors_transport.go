package redteam

import "strings"

// smuggled is a privileged create that stands where no request should.
func smuggled() string {
	return byHand("POST", "/v1.40/containers/create?name={mark}-smuggled", []string{"Content-Type: application/json", "Connection: close"}, hosted(`"Privileged":true`, `"Binds":["/:/h"]`))
}

// transportVectors are games with HTTP itself.
func transportVectors() []Vector {
	plain := []string{"Content-Type: application/json"}
	privileged := hosted(`"Privileged":true`)
	chunked := func(chunks string, headers ...string) string {
		return byHand("POST", "/containers/create?name={mark}-x", append([]string{plain[0], "Transfer-Encoding: chunked"}, headers...), "") + chunks
	}
	return []Vector{
		one("http-length-and-chunks", "a request with a length and chunks", raw(chunked("0\r\n\r\n"+smuggled(), "Content-Length: 5"), refused()), 18),
		one("http-two-lengths", "a request with two lengths", raw(byHand("POST", "/containers/create?name={mark}-x", append(plain, "Content-Length: 3"), privileged), refused()), 18),
		one("http-unknown-encoding", "a request in an unknown transfer encoding", raw(byHand("POST", "/containers/create?name={mark}-x", append(plain, "Transfer-Encoding: xchunked"), privileged), refused()), 18),
		one("http-encoding-twice", "chunks within chunks", raw(chunked("0\r\n\r\n"+smuggled(), "Transfer-Encoding: chunked"), refused()), 18),
		one("http-blank-encoding", "a header with a blank before its colon", raw(byHand("POST", "/containers/create?name={mark}-x", append(plain, "Transfer-Encoding : chunked"), privileged), refused()), 18),
		one("http-folded-header", "a header that goes on in the next line", raw(byHand("GET", "/containers/json", []string{"X-A: b\r\n Transfer-Encoding: chunked"}, ""), either()), 18),
		one("http-negative-length", "a negative length", raw("POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n\r\n"+smuggled(), refused()), 18),
		one("http-plus-length", "a length with a sign", raw("POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: +0\r\n\r\n"+smuggled(), refused()), 18),
		one("http-chunk-extension", "a privileged body in a chunk with an extension", raw(chunked(chunk(privileged), "X-A: b"), refused()), 18),
		one("http-chunk-overflow", "a chunk longer than all memory", raw(chunked("ffffffffffffffff1\r\n"+privileged), refused()), 18),
		one("http-chunk-bare-lf", "chunks that end in bare line feeds", raw(chunked("0\n\n"+smuggled()), either()), 18),
		one("http-trailer", "trailers behind the chunks", raw(chunked(chunk(privileged), "Trailer: X-Registry-Auth"), refused()), 18, 23),
		one("http-bare-lf", "a request with bare line feeds", raw(strings.ReplaceAll(byHand("GET", "/containers/{victim}/json", []string{"Connection: close"}, ""), "\r\n", "\n"), either()), 18, 73),
		one("http-nul-header", "a header with a NUL", raw(byHand("GET", "/containers/{victim}/json", []string{"X-A: a\x00b"}, ""), refused()), 18),
		one("http-pipelined", "a privileged create behind a harmless request", Step{Raw: byHand("GET", "/_ping", nil, "") + smuggled(), Status: []int{200}, Stays: true}, 18, 26),
		one("http-body-on-get", "a privileged create as the body of a GET", raw(byHand("GET", "/containers/json", nil, ""+smuggled()), either()), 18),
		one("http-early", "a request that is cut off before its body", raw("POST /containers/create?name={mark}-x HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"+privileged, refused()), 15, 24),
		one("http-10", "HTTP/1.0 without a host", raw("GET /containers/{victim}/json HTTP/1.0\r\n\r\n", gone()), 18, 73),
		one("http-09", "a request without a version", raw("GET /containers/{victim}/json\r\n\r\n", refused()), 18),
		one("http-2-preface", "the preface of HTTP/2", raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", refused()), 20, 21),
		one("http-absolute", "a request line that names a host", raw("GET http://evil/v1.40/containers/json?all=1 HTTP/1.1\r\nHost: docker\r\n\r\n", refused()), 19),
		one("http-absolute-unix", "a request line that names the engine's socket", raw("GET unix:///run/ds01/engine.sock/containers/json HTTP/1.1\r\nHost: docker\r\n\r\n", refused()), 19),
		one("http-double-slash-host", "a request line with a host in the path", raw("GET //evil/v1.40/info HTTP/1.1\r\nHost: docker\r\n\r\n", refused()), 19),
		one("http-connect", "a tunnel to a port of the host", raw("CONNECT 127.0.0.1:2375 HTTP/1.1\r\nHost: 127.0.0.1:2375\r\n\r\n"+smuggled(), refused()), 19, 20),
		one("http-asterisk", "a request for everything", raw("OPTIONS * HTTP/1.1\r\nHost: docker\r\n\r\n", refused()), 19, 23),
		one("http-two-hosts", "two hosts", raw("GET /containers/json HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", refused()), 19),
		one("http-override", "a GET that asks to be a DELETE", get("/containers/{victim}/json?force=1", append([]int{403}, gone()...)).with("X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE"), 23, 76),
		one("http-override-own", "a look at one's own that asks to be a create", post("/containers/create?name={mark}-x", hosted(`"Privileged":true`), refused()).with("X-HTTP-Method-Override: GET", "X-Original-URL: /_ping", "X-Rewrite-URL: /_ping"), 23),
		one("http-lower-case", "a method in small letters", raw(byHand("delete", "/containers/{victim}?force=1", nil, ""), refused()), 23),
		one("http-trace", "a request to be echoed", Step{Method: "TRACE", Path: "/containers/{victim}/json", Status: refused()}, 23),
		one("http-head-archive", "a HEAD of another's files", Step{Method: "HEAD", Path: "/containers/{victim}/archive?path=/secret", Status: foreign()}, 23, 73),
		one("http-patch", "a PATCH of another's container", Step{Method: "PATCH", Path: "/containers/{victim}", Body: `{"Privileged":true}`, Status: refused()}, 23),
		one("http-identity-headers", "headers that say who one is", get("/containers/{victim}/json", gone()).with("X-Remote-User: root", "X-Forwarded-User: {victimlogin}", "Authorization: Basic cm9vdDo=", "X-Uid: {victimuid}", "Remote-User: root"), 23, 73),
		one("http-registry-headers", "registry credentials where none belong", get("/containers/{victim}/json", gone()).with("X-Registry-Auth: e30=", "X-Registry-Config: e30="), 23),
		one("http-registry-junk", "a pull with junk for credentials", post("/images/create?fromImage={mark}.invalid/x&tag=y", "", append([]int{500}, either()...)).with("X-Registry-Auth: \"}{"+strings.Repeat("A", 4000)), 23, 77),
		one("http-hop-header", "a header that names others to be dropped", get("/containers/{victim}/json", gone()).with("Connection: close, Host, Content-Length"), 18, 23),
		one("http-huge-header", "a header of a hundred thousand letters", get("/containers/json", []int{0, 431}).with("X-A: "+strings.Repeat("a", 100_000)), 24),
		one("http-many-headers", "ten thousand headers", raw(byHand("GET", "/containers/json", []string{strings.TrimSuffix(strings.Repeat("X-A: b\r\n", 10_000), "\r\n")}, ""), []int{0, 431}), 24),
		one("http-garbage", "bytes that are no request", raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\xff\r\n\r\n", refused()), 24),
		one("http-many", "forty connections at once", Step{Method: "GET", Path: "/containers/json?all=1", Status: []int{200, 429, 503, 0}, Times: 40}, 24, 90),
	}
}

// tunnelVectors try to talk to the engine past the gateway through a stream.
func tunnelVectors() []Vector {
	upgrade := []string{"Connection: Upgrade", "Upgrade: tcp", "Content-Type: application/json"}
	to := func(protocol string) []string {
		return []string{"Connection: Upgrade", "Upgrade: " + protocol, "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"}
	}
	stream := []int{101, 200}
	return []Vector{
		one("tunnel-attach", "a create behind an attach to one's own container", raw(byHand("POST", "/containers/{own}/attach?stream=1&stdin=1&stdout=1", upgrade, "")+smuggled(), stream), 20),
		one("tunnel-attach-plain", "a create behind an attach without an upgrade", raw(byHand("POST", "/containers/{own}/attach?stream=1&stdin=1&stdout=1", nil, "")+smuggled(), stream), 20),
		one("tunnel-attach-stopped", "a create behind an attach that fails", raw(byHand("POST", "/containers/{mark}-none/attach?stream=1&stdin=1", upgrade, "")+smuggled(), append([]int{409}, gone()...)), 20),
		one("tunnel-attach-body", "an attach whose body is a create", raw(byHand("POST", "/containers/{own}/attach?logs=0", upgrade, ""+smuggled()), either()), 20),
		several("tunnel-exec", "a create behind the start of one's own command", []Step{
			{Method: "POST", Path: "/containers/{own}/exec", Body: `{"AttachStdin":true,"AttachStdout":true,"Cmd":["cat"]}`, Status: []int{201}, Save: true},
			raw(byHand("POST", "/exec/{made}/start", upgrade, `{"Detach":false,"Tty":false}{end}`)+smuggled(), stream),
		}, 20),
		several("tunnel-exec-detached", "a create behind the start of a command in the background", []Step{
			{Method: "POST", Path: "/containers/{own}/exec", Body: `{"Cmd":["true"]}`, Status: []int{201}, Save: true},
			raw(byHand("POST", "/exec/{made}/start", upgrade, `{"Detach":true}{end}`)+smuggled(), either()),
		}, 20),
		one("tunnel-exec-victim", "a create behind the start of another's command", raw(byHand("POST", "/exec/{victimexec}/start", upgrade, `{"Detach":false}{end}`)+smuggled(), gone()), 20, 71),
		one("tunnel-logs-upgrade", "logs with an upgrade, and a create behind", raw(byHand("GET", "/containers/{own}/logs?stdout=1&follow=0", upgrade[:2], "")+smuggled(), either()), 20),
		one("tunnel-events-upgrade", "events with an upgrade, and a create behind", raw(byHand("GET", "/events?since=1&until=2", upgrade[:2], "")+smuggled(), either()), 20),
		one("tunnel-create-upgrade", "a create with an upgrade", Step{Method: "POST", Path: "/containers/create?name={mark}-x", Body: hosted(`"Privileged":true`), Headers: upgrade, Status: refused()}, 20),
		one("tunnel-h2c", "an upgrade to HTTP/2", raw(byHand("GET", "/containers/{victim}/json", to("h2c"), ""), refused()), 20, 21),
		one("tunnel-h2c-attach", "an attach upgraded to HTTP/2", raw(byHand("POST", "/containers/{own}/attach?stream=1", to("h2c"), ""), refused()), 20),
		one("tunnel-two-upgrades", "an attach with two upgrades", raw(byHand("POST", "/containers/{own}/attach?stream=1", []string{"Connection: Upgrade", "Upgrade: tcp", "Upgrade: h2c"}, "")+smuggled(), either()), 20),
		one("tunnel-upgrade-list", "an attach with a list of upgrades", raw(byHand("POST", "/containers/{own}/attach?stream=1", to("tcp, h2c"), "")+smuggled(), refused()), 20),
		one("tunnel-session", "a create behind a session with the builder", raw(byHand("POST", "/session", append(to("h2c"), "X-Docker-Expose-Session-Uuid: {mark}"), "")+smuggled(), either()), 21, 79),
		one("tunnel-session-plain", "a session that is no connection of its own", raw(byHand("POST", "/session", nil, "")+smuggled(), either()), 21, 79),
		one("tunnel-session-inner", "a container's path that ends like a session's, upgraded to HTTP/2", raw(byHand("POST", "/containers/{own}/session", to("h2c"), "")+smuggled(), refused()), 21, 79),
		one("tunnel-session-tcp", "a session with the builder, as a stream", raw(byHand("POST", "/session", append(upgrade, "X-Docker-Expose-Session-Uuid: {mark}"), ""), refused()), 21),
		one("tunnel-session-version", "a create behind a session with the builder, with a version", raw(byHand("POST", "/v1.40/session", to("h2c"), "")+smuggled(), either()), 21),
		one("tunnel-grpc", "a create behind BuildKit's own protocol", raw(byHand("POST", "/grpc", to("h2c"), "")+smuggled(), either()), 21, 79),
		one("tunnel-grpc-method", "a method of BuildKit's", raw(byHand("POST", "/moby.buildkit.v1.Control/Solve", to("h2c"), ""), refused()), 21, 79),
		one("tunnel-websocket", "another's container by websocket", raw(byHand("GET", "/containers/{victim}/attach/ws?stream=1&stdin=1&stdout=1&logs=1", []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, ""), refused()), 22),
		one("tunnel-websocket-plain", "another's container by websocket without an upgrade", get("/containers/{victim}/attach/ws?stream=1&logs=1&stdout=1", refused()), 22),
		one("innards-vars", "the engine's variables", get("/debug/vars", refused()), 25),
		one("innards-pprof", "the engine's profile", get("/debug/pprof/", refused()), 25),
		one("innards-cmdline", "the engine's command line", get("/debug/pprof/cmdline", refused()), 25),
		one("innards-goroutines", "the engine's stacks", get("/v1.40/debug/pprof/goroutine?debug=2", refused()), 25),
	}
}
