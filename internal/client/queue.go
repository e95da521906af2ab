package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"ds01.dev/ds01/internal/apitype"
)

// Queue returns every place in the queue for GPUs, in its order.
func (c *Client) Queue(ctx context.Context) ([]apitype.QueuePlace, error) {
	return get[[]apitype.QueuePlace](ctx, c, "/v1/queue", nil)
}

// Cutting returns what is being made on the cards for the caller now.
func (c *Client) Cutting(ctx context.Context) (apitype.Cutting, error) {
	return get[apitype.Cutting](ctx, c, "/v1/gpus/cutting", nil)
}

// JoinQueue takes a place in the queue.
func (c *Client) JoinQueue(ctx context.Context, want apitype.JoinQueue) (apitype.QueuePlace, error) {
	return send[apitype.QueuePlace](ctx, c, http.MethodPost, "/v1/queue", nil, want)
}

// QueuePlace returns one of the caller's places: at once, or when something is
// kept for it, or after wait, of which the daemon grants a minute at most.
func (c *Client) QueuePlace(ctx context.Context, id string, wait time.Duration) (apitype.QueuePlace, error) {
	query := url.Values{"wait": {strconv.Itoa(int(wait / time.Second))}}
	return get[apitype.QueuePlace](ctx, c, "/v1/queue/"+url.PathEscape(id), query)
}

// LeaveQueue gives a place up.
func (c *Client) LeaveQueue(ctx context.Context, id string) error {
	_, err := send[struct{}](ctx, c, http.MethodDelete, "/v1/queue/"+url.PathEscape(id), nil, nil)
	return err
}

// Reservations returns what is reserved, for whom, now and later.
func (c *Client) Reservations(ctx context.Context) ([]apitype.Reservation, error) {
	return get[[]apitype.Reservation](ctx, c, "/v1/reservations", nil)
}

// Reserve keeps devices for a person. Admins only.
func (c *Client) Reserve(ctx context.Context, want apitype.Reserve) (apitype.Reservation, error) {
	return send[apitype.Reservation](ctx, c, http.MethodPost, "/v1/reservations", nil, want)
}

// Unreserve removes a reservation that was made by command. Admins only.
func (c *Client) Unreserve(ctx context.Context, id string) error {
	_, err := send[struct{}](ctx, c, http.MethodDelete, "/v1/reservations/"+url.PathEscape(id), nil, nil)
	return err
}
