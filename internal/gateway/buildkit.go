package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/problem"
)

// BuildKit builds by the engine's BuildKit.
type BuildKit interface {
	// Session serves a client's session, with which it opens builds, until it
	// ends. accept takes the connection over.
	Session(ctx context.Context, uid int, header http.Header, accept func() (net.Conn, error)) error
	// Await waits a moment for a session of the person's.
	Await(ctx context.Context, uid int, session string)
	// Build does one build. Unless answered an image may be made yet, though it
	// has failed.
	Build(ctx context.Context, b admission.KitBuild, tell func(trace []byte)) (answered bool, err error)
	// Cache returns what BuildKit has kept of builds, with whose it may be.
	Cache(ctx context.Context) ([]container.CacheRecord, error)
	// Prune removes what p picks of a person's own of that, and returns what is
	// gone.
	Prune(ctx context.Context, uid int, p container.CachePrune) ([]container.CacheRecord, error)
	// Serve speaks BuildKit's control API with one client of a person's until
	// either side ends, whose builds do does.
	Serve(ctx context.Context, conn net.Conn, uid int, do func(ctx context.Context, r admission.KitRequest, tell func(trace []byte)) (image string, err error)) error
	// Group makes the person's control group and returns its path.
	Group(ctx context.Context, who account.Account) (string, error)
	// Narrow makes a control group in the person's with less than they may have,
	// of what h says: memory, CPUs and processes, 0 for no bound. Unless done was
	// called it stays as it is.
	Narrow(ctx context.Context, who account.Account, h admission.HostConfig) (group string, done func(), err error)
	// NoNetwork returns why steps can't have a network, "" where they can.
	NoNetwork(ctx context.Context) (string, error)
}

// http2 is what a connection of BuildKit's is upgraded to.
const http2 = "h2c"

// speaksHTTP2 reports whether a path is one of BuildKit's.
func speaksHTTP2(path string) bool {
	return strings.HasSuffix(path, "/session") || strings.HasSuffix(path, "/grpc")
}

const kitFailed = "Image not built"

// untilClosed returns a context that ends with parent, or when the daemon stops.
func (c *call) untilClosed(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	go func() {
		defer cancel()
		select {
		case <-c.Closing:
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// kitSession keeps the client's session for the builds that it will ask for.
func (c *call) kitSession() error {
	if c.r.Header.Get("Upgrade") != http2 {
		return &problem.Error{What: "No session", Why: problem.Because(problem.ErrInvalid, "a session is an upgraded connection"), Next: "Use a Docker client."}
	}
	ctx, cancel := c.untilClosed(context.WithoutCancel(c.r.Context())) // the request's ends with the takeover
	defer cancel()
	taken := false
	err := c.Kit.Session(ctx, c.who.UID, c.r.Header, func() (net.Conn, error) {
		conn, err := c.takeOver()
		taken = err == nil
		return conn, err
	})
	if taken {
		return errAnswered
	}
	return err
}

// takeOver answers that the connection speaks HTTP/2 from now on.
func (c *call) takeOver() (net.Conn, error) {
	conn, buffered, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("take the connection over: %w", err)
	}
	if _, err := conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + http2 + "\r\n\r\n")); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return readAhead{conn, buffered.Reader}, nil
}

// readAhead is a connection of which something may have been read already.
type readAhead struct {
	net.Conn
	reader *bufio.Reader
}

func (r readAhead) Read(p []byte) (int, error) { return r.reader.Read(p) }

// A kitID is what a person's client calls a build of theirs.
type kitID struct {
	uid int
	id  string
}

// kitControl speaks BuildKit's own protocol with the client, which asks for
// builds by it.
func (c *call) kitControl() error {
	if c.r.Header.Get("Upgrade") != http2 {
		return &problem.Error{What: "No builder", Why: problem.Because(problem.ErrInvalid, "BuildKit's protocol needs an upgraded connection"), Next: "Use a Docker client."}
	}
	ctx, cancel := c.untilClosed(context.WithoutCancel(c.r.Context())) // the request's ends with the takeover
	defer cancel()
	conn, err := c.takeOver()
	if err != nil {
		return err
	}
	if err := c.Kit.Serve(ctx, conn, c.who.UID, c.kitDo); err != nil {
		c.Log.WarnContext(ctx, "client of the builder not served to its end", "user", c.who.Name, "error", err)
	}
	return errAnswered
}

// kitBuild builds an image by BuildKit, of files that the client's session has.
func (c *call) kitBuild() error {
	request, err := admission.ReadKitBuild(c.match.Query)
	var order kitOrder
	if err == nil {
		order, err = c.kitOrder(c.r.Context(), request)
	}
	if err != nil {
		c.Kit.Await(c.r.Context(), c.who.UID, c.match.Query.Get("session"))
		return err
	}
	ctx, cancel := c.untilClosed(c.r.Context())
	defer cancel()
	if id := (kitID{c.who.UID, c.match.Query.Get("buildid")}); id.id != "" {
		c.kits.Store(id, cancel)
		defer c.kits.Delete(id)
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(http.StatusOK)
	image, err := c.kitRun(ctx, order, func(trace []byte) { c.kitTell("moby.buildkit.trace", trace) })
	if err != nil {
		return c.tellError(err)
	}
	if image == "" {
		return errAnswered // files came of it
	}
	if c.match.Query.Get("q") != "" {
		c.say(image) // all that a quiet client shows
	}
	c.kitTell("moby.image.id", map[string]string{"ID": image})
	return errAnswered
}

// A kitOrder is a build that may begin, and the names that the image shall have
// at the engine.
type kitOrder struct {
	admission.KitBuild
	targets, names []string
}

// kitDo does one build that was asked for in BuildKit's own protocol.
func (c *call) kitDo(ctx context.Context, r admission.KitRequest, tell func([]byte)) (string, error) {
	order, err := c.kitOrder(ctx, r)
	if err != nil {
		return "", err
	}
	return c.kitRun(ctx, order, tell)
}

// kitOrder reviews what the client wants built.
func (c *call) kitOrder(ctx context.Context, r admission.KitRequest) (kitOrder, error) {
	order := kitOrder{targets: r.Targets}
	for _, target := range r.Targets {
		name, err := curator.OwnName(target, c.who.UID)
		if err != nil {
			return order, err
		}
		order.names = append(order.names, name)
	}
	room := func() error { return c.room(kitFailed, 0) }
	if err := room(); err != nil {
		return order, err
	}
	group, err := c.Kit.Group(ctx, c.who)
	if err != nil {
		return order, err
	}
	noNetwork, err := c.Kit.NoNetwork(ctx)
	order.KitBuild = admission.KitBuild{
		UID: c.who.UID, Session: r.Session, Output: r.Output, Group: group, KitOptions: r.KitOptions, NoNetwork: noNetwork, Image: c.kitImages(r.Pull()), Room: room,
	}
	return order, err
}

// kitRun has the image made and returns its id, "" where files come of it.
func (c *call) kitRun(ctx context.Context, order kitOrder, tell func([]byte)) (string, error) {
	site := &kitSite{call: c, order: order}
	defer site.done()
	if c.Launcher.Judged() {
		order.Judge = site.judge
	}
	if order.Output != admission.KitImage {
		order.Show = func(text string) string { return string(c.ownImages([]byte(text))) }
		_, err := c.Kit.Build(ctx, order.KitBuild, tell)
		return "", err
	}
	lasting := context.WithoutCancel(ctx)
	m, err := c.making(lasting, url.Values{}, container.ByBuild, order.names)
	if err != nil {
		return "", err
	}
	order.Mark = curator.Mark(m, 0)
	order.Show = c.kitShow(order)
	answered, err := c.Kit.Build(ctx, order.KitBuild, tell)
	images, ended := c.Images.End(lasting, m, answered)
	if err = errors.Join(err, ended); err != nil {
		return "", err
	}
	return images[0], nil
}

// kitImages returns what names an image that the caller may build on, once it
// was fetched. Each is looked for once in a build, however often it is asked for.
func (c *call) kitImages(pull bool) func(context.Context, string, admission.KitLogin) (string, error) {
	ask := admission.Build{Quiet: true, Pull: pull} // the answer is of another form
	var mu sync.Mutex
	finds := map[string]func() (string, error){}
	return func(ctx context.Context, reference string, login admission.KitLogin) (string, error) {
		mu.Lock()
		find := finds[reference]
		if find == nil {
			b := &building{call: c, ask: ask, login: login}
			find = sync.OnceValues(func() (string, error) { return b.kitImage(ctx, reference) })
			finds[reference] = find
		}
		mu.Unlock()
		return find()
	}
}

// kitImage returns the engine's name of an image.
func (b *building) kitImage(ctx context.Context, reference string) (string, error) {
	found, err := b.base(ctx, admission.Base{Reference: reference})
	if err != nil {
		return "", err
	}
	if found.Name == "" {
		return "", &problem.Error{
			What: kitFailed, Why: problem.Because(problem.ErrInvalid, "FROM "+reference+" is an id, by which BuildKit finds no image"),
			Next: "Give the image a name with docker tag, and write that.",
		}
	}
	return found.Name, nil
}

// kitShow returns what puts the caller's words in the place of the engine's.
func (c *call) kitShow(order kitOrder) func(string) string {
	mark, asked := order.Mark, strings.Join(order.targets, ", ")
	if asked == "" {
		asked = "no name"
	}
	return func(text string) string {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "docker.io/"+mark, asked), mark, asked)
		return string(c.ownImages([]byte(text)))
	}
}

// kitTell tells of a build as the engine does.
func (c *call) kitTell(id string, aux any) {
	doc, err := json.Marshal(map[string]any{"id": id, "aux": aux})
	if err == nil {
		c.tell(doc)
	}
}

// kitCancel ends a build of the caller's.
func (c *call) kitCancel() error {
	found, _ := c.kits.Load(kitID{c.who.UID, c.match.Query.Get("id")})
	if cancel, ok := found.(context.CancelFunc); ok {
		cancel()
	}
	c.w.WriteHeader(http.StatusOK)
	return errAnswered
}
