package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/event"
)

// Version tells what answers.
func (c *Client) Version(ctx context.Context) (apitype.Version, error) {
	return get[apitype.Version](ctx, c, "/v1/version", nil)
}

// Me tells who the caller is to the daemon.
func (c *Client) Me(ctx context.Context) (apitype.Me, error) {
	return get[apitype.Me](ctx, c, "/v1/me", nil)
}

// Doctor returns what works and what is missing for the caller.
func (c *Client) Doctor(ctx context.Context) (apitype.Doctor, error) {
	return get[apitype.Doctor](ctx, c, "/v1/doctor", nil)
}

// Fix takes orphans away that Doctor has told of, and returns what became of
// each. Administrators may.
func (c *Client) Fix(ctx context.Context, orphans []apitype.Orphan) ([]apitype.Fixed, error) {
	return send[[]apitype.Fixed](ctx, c, http.MethodPost, "/v1/doctor/fix", nil, apitype.Fix{Orphans: orphans})
}

// GPUs returns every grantable device in the order of its slots.
func (c *Client) GPUs(ctx context.Context) ([]apitype.GPU, error) {
	return get[[]apitype.GPU](ctx, c, "/v1/gpus", nil)
}

// WhyGPUs returns what a request for GPUs would come to now, in the words of
// gpu.ParseRequest; "" means one.
func (c *Client) WhyGPUs(ctx context.Context, request string) (apitype.GPUWhy, error) {
	query := url.Values{}
	if request != "" {
		query.Set("gpus", request)
	}
	return get[apitype.GPUWhy](ctx, c, "/v1/gpus/why", query)
}

// WhyHeld returns why a container has what it has of GPUs.
func (c *Client) WhyHeld(ctx context.Context, name string) (apitype.GPUWhy, error) {
	return get[apitype.GPUWhy](ctx, c, "/v1/gpus/why", url.Values{"name": {name}})
}

// SetSim sets what a simulated device reports. Admins only; on a host with
// real GPUs it fails.
func (c *Client) SetSim(ctx context.Context, uuid string, r apitype.SimReading) error {
	_, err := send[struct{}](ctx, c, http.MethodPost, "/v1/gpus/"+url.PathEscape(uuid)+"/sim", nil, r)
	return err
}

// Drain keeps a card, by its UUID or index, from being granted. Admins only.
func (c *Client) Drain(ctx context.Context, card, reason string) (apitype.Card, error) {
	return send[apitype.Card](ctx, c, http.MethodPost, "/v1/gpus/"+url.PathEscape(card)+"/drain", nil, apitype.Drain{Reason: reason})
}

// Undrain lets a card be granted again. Admins only.
func (c *Client) Undrain(ctx context.Context, card string) (apitype.Card, error) {
	return send[apitype.Card](ctx, c, http.MethodDelete, "/v1/gpus/"+url.PathEscape(card)+"/drain", nil, nil)
}

// Containers returns the caller's containers in all states, or everybody's
// where allUsers is set, which admins may.
func (c *Client) Containers(ctx context.Context, allUsers bool) ([]apitype.Container, error) {
	return get[[]apitype.Container](ctx, c, "/v1/containers", everybody(allUsers))
}

// Container returns one container by name, id or unique prefix of an id.
func (c *Client) Container(ctx context.Context, name string) (apitype.Container, error) {
	return get[apitype.Container](ctx, c, containerPath(name), nil)
}

// Create makes a container and claims its GPUs; it does not start it.
func (c *Client) Create(ctx context.Context, r apitype.CreateContainer) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, http.MethodPost, "/v1/containers", nil, r)
}

// Start starts a container. One that runs already is left as it is.
func (c *Client) Start(ctx context.Context, name string) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, http.MethodPost, containerPath(name)+"/start", nil, nil)
}

// Stop stops a container after at most graceSeconds, or the owner's
// stop_timeout where that is nil.
func (c *Client) Stop(ctx context.Context, name string, body apitype.StopContainer) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, http.MethodPost, containerPath(name)+"/stop", nil, body)
}

// Update changes what a container may use, and its restart policy. What is
// zero in r stays as it is.
func (c *Client) Update(ctx context.Context, name string, r apitype.UpdateContainer) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, http.MethodPost, containerPath(name)+"/update", nil, r)
}

// Extend puts off the end of a container's runtime.
func (c *Client) Extend(ctx context.Context, name string, by time.Duration) (apitype.Container, error) {
	body := apitype.Extend{Seconds: int64(by / time.Second)}
	return send[apitype.Container](ctx, c, http.MethodPost, containerPath(name)+"/extend", nil, body)
}

// Keep has a container kept when it stops, or not any more.
func (c *Client) Keep(ctx context.Context, name string, keep bool) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, onOff(keep), containerPath(name)+"/keep", nil, nil)
}

// Protect has nothing done to a container without anybody asking, or ends that.
// Admins only.
func (c *Client) Protect(ctx context.Context, name string, on bool) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, onOff(on), containerPath(name)+"/protect", nil, nil)
}

func onOff(on bool) string {
	if on {
		return http.MethodPost
	}
	return http.MethodDelete
}

// Exemptions returns who is exempt from what. Admins only.
func (c *Client) Exemptions(ctx context.Context) ([]apitype.Exemption, error) {
	return get[[]apitype.Exemption](ctx, c, "/v1/exemptions", nil)
}

// Exempt lets a person's containers be. Admins only.
func (c *Client) Exempt(ctx context.Context, e apitype.Exemption) (apitype.Exemption, error) {
	return send[apitype.Exemption](ctx, c, http.MethodPost, "/v1/exemptions", nil, e)
}

// Unexempt ends a person's exemption. Admins only.
func (c *Client) Unexempt(ctx context.Context, user string) error {
	_, err := send[struct{}](ctx, c, http.MethodDelete, "/v1/exemptions/"+url.PathEscape(user), nil, nil)
	return err
}

// AddGPUs has a container get GPUs beside those that it has.
func (c *Client) AddGPUs(ctx context.Context, name, request string) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, http.MethodPost, containerPath(name)+"/gpus/add", nil, apitype.AddGPUs{Request: request})
}

// ReleaseGPUs takes GPUs from a container.
func (c *Client) ReleaseGPUs(ctx context.Context, name string, r apitype.ReleaseGPUs) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, http.MethodPost, containerPath(name)+"/gpus/release", nil, r)
}

// Pause makes a running container stand still.
func (c *Client) Pause(ctx context.Context, name string) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, http.MethodPost, containerPath(name)+"/pause", nil, nil)
}

// Unpause lets a paused container go on.
func (c *Client) Unpause(ctx context.Context, name string) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, http.MethodPost, containerPath(name)+"/unpause", nil, nil)
}

// Rename gives a container another name among its owner's.
func (c *Client) Rename(ctx context.Context, name, to string) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, http.MethodPost, containerPath(name)+"/rename", nil, apitype.RenameContainer{Name: to})
}

// Remove deletes a container and gives its GPUs back. A running one is a
// conflict unless force is set.
func (c *Client) Remove(ctx context.Context, name string, force bool) error {
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	_, err := send[struct{}](ctx, c, http.MethodDelete, containerPath(name), query, nil)
	return err
}

// Adopt gives a quarantined container to a user. Admins only.
func (c *Client) Adopt(ctx context.Context, name string, r apitype.Adopt) (apitype.Container, error) {
	return send[apitype.Container](ctx, c, http.MethodPost, containerPath(name)+"/adopt", nil, r)
}

// Stats returns what each running container uses now.
func (c *Client) Stats(ctx context.Context, allUsers bool) ([]apitype.Stats, error) {
	return get[[]apitype.Stats](ctx, c, "/v1/stats", everybody(allUsers))
}

// Limits returns what one person may use and uses: the caller where user is
// empty, anybody for admins.
func (c *Client) Limits(ctx context.Context, user string) ([]apitype.UserLimits, error) {
	query := url.Values{}
	if user != "" {
		query.Set("user", user)
	}
	return get[[]apitype.UserLimits](ctx, c, "/v1/limits", query)
}

// AllLimits returns the limits and use of everybody. Admins only.
func (c *Client) AllLimits(ctx context.Context) ([]apitype.UserLimits, error) {
	return get[[]apitype.UserLimits](ctx, c, "/v1/limits", url.Values{"all": {"true"}})
}

// DiffLimits returns what would change for whom if the file were in force.
// Admins only.
func (c *Client) DiffLimits(ctx context.Context, f apitype.LimitsFile) ([]apitype.LimitChange, error) {
	return send[[]apitype.LimitChange](ctx, c, http.MethodPost, "/v1/limits/diff", nil, f)
}

// Dashboard returns the host at a glance.
func (c *Client) Dashboard(ctx context.Context) (apitype.Dashboard, error) {
	return get[apitype.Dashboard](ctx, c, "/v1/dashboard", nil)
}

// Audit returns the last events of the audit log, oldest first: those of or
// about one person where of isn't empty, since a moment that isn't zero, only
// refusals where denied is set, and limit at most. Admins only.
func (c *Client) Audit(ctx context.Context, of string, since time.Time, denied bool, limit int) ([]event.Event, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if of != "" {
		query.Set("of", of)
	}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	if denied {
		query.Set("denied", "true")
	}
	return get[[]event.Event](ctx, c, "/v1/audit", query)
}

func containerPath(name string) string { return "/v1/containers/" + url.PathEscape(name) }

func everybody(allUsers bool) url.Values {
	if !allUsers {
		return nil
	}
	return url.Values{"all_users": {"true"}}
}
