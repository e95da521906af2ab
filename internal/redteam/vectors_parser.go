package redteam

import "strings"

// parserVectors are bodies, paths and queries that two parsers read in two
// ways.
func parserVectors() []Vector {
	return append(append(keyVectors(), pathVectors()...), queryVectors()...)
}

func keyVectors() []Vector {
	top := func(id, says, fields string, topics ...int) try {
		return try{id: id, says: says, fields: fields, topics: topics, top: true}
	}
	all := tries("json", refused(),
		top("case-hostconfig", "HostConfig in another case", `"hostconfig":{"PRIVILEGED":true,"networkmode":"host"}`, 1),
		top("case-field", "a field of HostConfig in another case", `"HostConfig":{"privileged":true,"pidmode":"host"}`, 1),
		top("case-binds", "binds in capitals", `"HostConfig":{"BINDS":["/:/h"]}`, 1, 42),
		top("twice-other-case", "HostConfig a second time, in another case", `"HostConfig":{"Privileged":false},"hostConfig":{"Privileged":true}`, 2),
		top("twice-same", "HostConfig a second time", `"HostConfig":{"Privileged":false},"HostConfig":{"Privileged":true}`, 2),
		top("twice-field", "a field a second time", `"HostConfig":{"Privileged":false,"Privileged":true}`, 2),
		top("twice-merge", "an empty HostConfig over a privileged one", `"HostConfig":{"Privileged":true},"HostConfig":{}`, 3),
		top("twice-merge-binds", "an empty HostConfig over one with the host's root", `"HostConfig":{"Binds":["/:/h"]},"HostConfig":{}`, 3, 42),
		top("twice-escaped", "a key a second time, written with escapes", `"HostConfig":{},"\u0048ostConfig":{"Privileged":true}`, 2),
		top("unicode-long-s", "HostConfig with a long s", `"HoſtConfig":{"Privileged":true,"Binds":["/:/h"]}`, 4),
		top("unicode-kelvin", "NetworkMode with the sign for kelvin", `"HostConfig":{"Networ\u212aMode":"host"}`, 4, 31),
		top("unicode-escaped-s", "HostConfig with an escaped long s", `"Ho\u017ftConfig":{"Privileged":true}`, 4),
		top("unicode-dotless-i", "Privileged with a dotless i", `"HostConfig":{"Pr\u0131v\u0131leged":true}`, 4, 26),
		top("unicode-fullwidth", "Privileged in full-width letters", `"HostConfig":{"\uff30\uff32\uff29\uff36ileged":true}`, 4, 26),
		top("null-over", "null over a privileged HostConfig", `"HostConfig":{"Privileged":true},"HostConfig":null`, 5),
		top("null-under", "a privileged HostConfig over null", `"HostConfig":null,"HostConfig":{"Privileged":true}`, 5),
		top("nul-key", "a key with a NUL behind it", `"HostConfig":{"Privileged\u0000":true}`, 1),
		top("nul-value", "a network mode with a NUL behind it", `"HostConfig":{"NetworkMode":"host\u0000"}`, 31),
		top("blank-key", "a key with a blank behind it", `"HostConfig":{"Privileged ":true}`, 1),
		top("nested", "HostConfig inside HostConfig", `"HostConfig":{"HostConfig":{"Privileged":true}}`, 28),
		top("root-binds", "binds beside HostConfig", `"Binds":["/:/h"]`, 28, 42),
		top("root-mounts", "mounts beside HostConfig", `"Mounts":[{"Type":"bind","Source":"/","Target":"/h"}]`, 28, 42),
		top("root-privileged", "Privileged beside HostConfig", `"Privileged":true`, 28),
		top("number-for-bool", "a number for true", `"HostConfig":{"Privileged":1}`, 26),
		top("string-for-bool", "a word for true", `"HostConfig":{"Privileged":"true"}`, 26),
		top("list-for-object", "HostConfig as a list", `"HostConfig":[{"Privileged":true}]`, 26),
		top("huge-number", "a number beyond all sizes", `"HostConfig":{"Memory":1e400}`, 53),
		top("float-number", "a size that is no whole number", `"HostConfig":{"Memory":1.5e30}`, 53),
		top("deep", "sixty-five levels", `"HostConfig":{"Sysctls":`+strings.Repeat(`[`, 70)+strings.Repeat(`]`, 70)+`}`, 16),
	)
	second := body() + " " + hosted(`"Privileged":true`)
	all = append(all,
		one("json-second-document", "a privileged body behind a harmless one", create(second, refused()), 6),
		one("json-trailing", "words behind the body", create(body()+" true", refused()), 6),
		one("json-none", "no body", Step{Method: "POST", Path: "/containers/create?name={mark}-x", Status: refused(), Headers: []string{"Content-Type: application/json", "Content-Length: 0"}}, 15),
		one("json-chunked-none", "a body of no chunks", raw(byHand("POST", "/containers/create?name={mark}-x", []string{"Content-Type: application/json", "Transfer-Encoding: chunked"}, "")+"0\r\n\r\n", refused()), 15),
		one("json-oversized", "a privileged body behind a megabyte of blanks", create(strings.Repeat(" ", 1<<20+512<<10)+hosted(`"Privileged":true`), refused()), 16),
		one("json-oversized-label", "a privileged body with a label of two megabytes", create(body(`"HostConfig":{"Privileged":true}`, `"Domainname":"`+strings.Repeat("a", 2<<20)+`"`), refused()), 16),
		one("json-bom", "a body behind a byte order mark", create("\xef\xbb\xbf"+hosted(`"Privileged":true`), refused()), 6),
		one("json-utf16", "a body in UTF-16", create("\xff\xfe{\x00}\x00", refused()), 6),
		one("json-text-plain", "a privileged body that says it is text", create(hosted(`"Privileged":true`), refused()).with("Content-Type: text/plain"), 17),
		one("json-odd-type", "a privileged body of an odd type", create(hosted(`"Privileged":true`), refused()).with("Content-Type: application/json;x"), 17),
		one("json-gzip", "a body that says it is compressed", create(hosted(`"Privileged":true`), refused()).with("Content-Encoding: gzip"), 17),
		one("json-no-type", "a privileged body of no type", raw(byHand("POST", "/containers/create?name={mark}-x", nil, hosted(`"Privileged":true`)), refused()), 17),
	)
	return all
}

func pathVectors() []Vector {
	privileged := hosted(`"Privileged":true`)
	mangled := func(id, says, path string, topics ...int) Vector {
		return one("path-"+id, says, Step{Method: "POST", Path: path, Body: privileged, Status: refused(), Run: true}, topics...)
	}
	return []Vector{
		mangled("encoded-slash", "a create with encoded slashes", "/v1.40%2fcontainers%2fcreate", 7),
		mangled("encoded-slash-twice", "a create with slashes encoded twice", "/v1.40%252fcontainers%252fcreate", 7),
		mangled("encoded-letter", "a create with an encoded letter", "/v1.40/containers/%63reate", 8),
		mangled("encoded-nul", "a create with an encoded NUL", "/v1.40/containers/create%00", 8),
		mangled("double-slash", "a create with a doubled slash", "/v1.40//containers/create", 9),
		mangled("climbing", "a create by a path that climbs", "/v1.40/x/../containers/create", 9),
		mangled("climbing-encoded", "a create by a path that climbs in disguise", "/v1.40/x/%2e%2e/containers/create", 9),
		mangled("trailing-slash", "a create with a slash behind it", "/v1.40/containers/create/", 9),
		mangled("backslash", "a create with a backslash", `/v1.40\containers\create`, 9),
		mangled("semicolon", "a create with a path parameter", "/v1.40/containers/create;a=b", 9),
		mangled("fragment", "a create with a fragment", "/v1.40/containers/create#x", 9),
		mangled("version-dots", "a create in version '.....'", "/v...../containers/create", 10),
		mangled("version-huge", "a create in a version to come", "/v999999/containers/create", 10),
		mangled("version-old", "a create in the API of 2014", "/v1.12/containers/create", 10),
		mangled("version-none", "a create without a version", "/containers/create", 10, 26),
		mangled("version-twice", "a create with two versions", "/v1.40/v1.40/containers/create", 10),
		one("path-greedy-exec", "a command in a name with a slash", post("/containers/{victim}/x/exec", `{"Cmd":["touch","/reached"]}`, refused()), 11),
		one("path-greedy-create", "a command in a container called create", post("/containers/create/exec", `{"Cmd":["touch","/reached"]}`, refused()), 11),
		one("path-greedy-delete", "a removal in a name with a slash", remove("/containers/{victim}/exec?force=1", refused()), 11),
		one("path-climb-victim", "one's own container, then climbing to another's", get("/containers/{own}/../{victim}/json", refused()), 9, 73),
		one("path-question-start", "a start of a name with a question mark", post("/containers/{stopped}%3fx=/start", "", refused()), 12),
		one("path-question-json", "a look at a name with a question mark", get("/containers/{victim}%3fsize=1/json", refused()), 12),
		one("path-hash-json", "a look at a name with a hash", get("/containers/{victim}%23/json", refused()), 12),
		one("path-slash-name", "a name behind an encoded slash", get("/containers/%2f{victimname}/json", refused()), 7, 73),
		one("path-newline", "a name with an encoded line break", get("/containers/{victim}%0d%0aX-A:%20b/json", refused()), 8, 18),
		one("path-image-climb", "an image's name that climbs to containers", get("/images/../containers/{victim}/json", refused()), 9, 73),
		one("path-image-greedy", "an image's name that swallows a container's path", get("/images/x/containers/{victim}/json", either()), 11, 73),
		one("path-long", "a path of a hundred thousand letters", get("/containers/"+strings.Repeat("a", 12_000)+"/json", refused()), 24),
	}
}

func queryVectors() []Vector {
	form := func(body string) []string {
		return []string{"Content-Type: application/x-www-form-urlencoded", body}
	}
	forms := func(id, says, path, text string, topics ...int) Vector {
		h := form(text)
		return one("form-"+id, says, Step{Method: "POST", Path: path, Headers: h[:1], Body: h[1], Status: either()}, append(topics, 13)...)
	}
	return []Vector{
		forms("commit", "a commit whose form names another's container", "/commit?container={own}&repo={mark}-commit", "container={victim}", 74),
		forms("kill", "a signal whose form is another one", "/containers/{own}/kill?signal=0", "signal=CONT"),
		forms("tag", "a tag whose form names a shared repository", "/images/{image}/tag?repo={mark}-tag", "repo={shared}", 75),
		forms("rename", "a rename whose form names another's container", "/containers/{own}/rename?name={mark}-own", "name={victimengine}", 62),
		forms("build", "a build whose form sets the host's network", "/build?remote=http://{trap}/x", "networkmode=host&t={shared}", 78),
		forms("pull", "a pull whose form imports instead", "/images/create?fromImage={mark}.invalid/x", "fromSrc=http://{trap}/x&repo={shared}", 77),
		forms("create", "a create whose form names it as another's", "/containers/create?name={mark}-x", "name={victimengine}", 62),
		forms("archive", "a copy whose form names another path", "/containers/{own}/archive?path=/tmp", "path=/etc", 72),
		one("form-multipart", "a commit as a multipart form", Step{
			Method: "POST", Path: "/commit?container={own}&repo={mark}-commit", Headers: []string{"Content-Type: multipart/form-data; boundary=x"},
			Body: "--x\r\nContent-Disposition: form-data; name=\"container\"\r\n\r\n{victim}\r\n--x--\r\n", Status: refused(),
		}, 13, 74),
		one("query-twice", "two names in a query", Step{Method: "POST", Path: "/containers/create?name={mark}-x&name={victimengine}", Body: body(), Status: refused()}, 14),
		one("query-semicolon", "a semicolon between query keys", Step{Method: "POST", Path: "/containers/create?name={mark}-x;name={victimengine}", Body: body(), Status: refused()}, 14),
		one("query-unknown", "an unknown query key", get("/containers/json?all=1&everybody=1", refused()), 14, 84),
		one("query-case", "a query key in another case", get("/containers/json?ALL=1&Filters=%7B%7D", refused()), 14, 84),
		one("query-encoded-key", "an encoded query key a second time", get("/containers/json?all=0&%61ll=1", refused()), 14),
		one("query-platform", "a platform that is a path", Step{Method: "POST", Path: "/containers/create?name={mark}-x&platform=../../etc", Body: body(), Status: either(), Run: true}, 14),
		one("query-body", "fields of the body in the query as well", Step{Method: "POST", Path: "/containers/create?name={mark}-x&HostConfig=%7B%22Privileged%22%3Atrue%7D&Image=none", Body: body(), Status: either(), Run: true}, 14),
		one("query-broken", "a query that isn't encoded well", get("/containers/json?filters=%zz", refused()), 14),
		one("query-huge", "a query of a hundred thousand letters", get("/containers/json?filters="+strings.Repeat("a", 100_000), refused()), 24),
	}
}
