package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

// MIG returns what the cards are cut into. Admins only.
func (c *Client) MIG(ctx context.Context) (apitype.MIG, error) {
	return get[apitype.MIG](ctx, c, "/v1/mig", nil)
}

// PlanMIG returns what has to be done for the cards to be as a layout file
// declares. Nothing is done. Admins only.
func (c *Client) PlanMIG(ctx context.Context, f apitype.LayoutFile) (apitype.MIGPlan, error) {
	return send[apitype.MIGPlan](ctx, c, http.MethodPost, "/v1/mig/plan", nil, f)
}

// ApplyMIG makes the cards as a layout file declares, and calls told with the
// plan and each step that is done. The daemon ends what it has begun, also when
// ctx ends first. Admins only.
func (c *Client) ApplyMIG(ctx context.Context, f apitype.LayoutFile, told func(apitype.MIGProgress)) error {
	res, err := c.do(ctx, http.MethodPost, "/v1/mig/apply", c.onBehalf(nil), f)
	if err != nil {
		return err
	}
	defer drop(res.Body)
	for answers := json.NewDecoder(res.Body); ; {
		var said apitype.MIGProgress
		switch err := answers.Decode(&said); {
		case err != nil: // it must not end before it is done
			return c.broken(ctx, fmt.Errorf("read the answer: %w", err))
		case said.Error != nil:
			return problem.FromDocument(*said.Error)
		case said.Done:
			return nil
		}
		told(said)
	}
}
