package registrar

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
)

// Network returns what uid means by a reference: their own network of that
// name, id or unique prefix of an id. Bridge is their default network. Others'
// are of kind problem.ErrNotFound, as if they didn't exist.
func (r *Registrar) Network(uid int, reference string) (network.Record, error) {
	if reference == network.Default {
		reference = network.Bridge
	}
	return r.findNetwork(reference, func(n network.Record) bool { return n.UID == uid })
}

// AnyNetwork returns what an administrator means: first as Network, then by
// the engine's name or id among everybody's.
func (r *Registrar) AnyNetwork(uid int, reference string) (network.Record, error) {
	if n, err := r.Network(uid, reference); err == nil {
		return n, nil
	}
	return r.findNetwork(reference, func(n network.Record) bool { return n.Name != reference })
}

func (r *Registrar) findNetwork(reference string, mine func(network.Record) bool) (network.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []network.Record
	for _, n := range r.networks {
		switch {
		case n.ID == "" || !mine(n): // one that is being made isn't there yet
		case n.Name == reference, n.EngineName == reference, n.ID == reference:
			return n, nil
		case len(reference) >= 2 && strings.HasPrefix(n.ID, reference):
			found = append(found, n)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return network.Record{}, &problem.Error{
			What: "network " + reference + " not found",
			Why:  problem.Because(problem.ErrNotFound, "you have no network of that name or id"),
			Next: "'docker network ls' shows yours.",
		}
	}
	return network.Record{}, &problem.Error{
		What: "Which network?",
		Why:  problem.Because(problem.ErrConflict, fmt.Sprintf("%q is the beginning of %d network ids", reference, len(found))),
		Next: "Write more of the id, or the name.",
	}
}

// NetworkAt returns the record of a network by the engine's name or id.
func (r *Registrar) NetworkAt(engineName string) (network.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.networkAt(engineName)
}

// networkAt is NetworkAt. The caller holds mu.
func (r *Registrar) networkAt(engineName string) (network.Record, bool) {
	if n, ok := r.networks[engineName]; ok {
		return n, true
	}
	for _, n := range r.networks {
		if n.ID == engineName && engineName != "" {
			return n, true
		}
	}
	return network.Record{}, false
}

// OwnerOfNetwork returns who owns a network of that id, or owned it until a
// moment ago. One that is still being made is known by the engine's name only.
func (r *Registrar) OwnerOfNetwork(id, engineName string) (uid int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, known := r.networkAt(id); known {
		return n.UID, true
	}
	if n, known := r.networks[engineName]; known && n.ID == "" {
		return n.UID, true
	}
	t, ok := r.gone[networkKey(id)]
	return t.uid, ok
}

// DefaultNetwork returns the network of uid's containers that ask for none,
// and makes it where there is none yet. Containers of different people on one
// network would reach each other's ports.
func (r *Registrar) DefaultNetwork(ctx context.Context, uid int, labels map[string]string) (network.Record, error) {
	if n, err := r.Network(uid, network.Bridge); err == nil {
		return n, nil
	}
	return r.make(ctx, uid, network.Bridge, network.Spec{Name: network.DefaultOf(uid), Labels: labels})
}

// CreateNetwork makes a network of uid's called name. Errors are of kind
// problem.ErrConflict (the name is taken), ErrLimit or ErrExhausted (no
// addresses left).
func (r *Registrar) CreateNetwork(ctx context.Context, uid int, name string, s network.Spec) (network.Record, error) {
	s.Name = account.EngineName(name, uid)
	return r.make(ctx, uid, name, s)
}

func (r *Registrar) make(ctx context.Context, uid int, name string, s network.Spec) (network.Record, error) {
	what := "Network " + name + " not created"
	if !r.Served() {
		return network.Record{}, &problem.Error{
			What: what, Why: problem.Because(problem.ErrDenied, "this host's engine runs without networks"),
			Next: "Leave --network away: the container has none; or ask your administrators to start the engine with a bridge.",
		}
	}
	defer r.Lock("network " + s.Name)()
	if n, known := r.NetworkAt(s.Name); known {
		return existing(n, what)
	}
	n := network.Record{UID: uid, Name: name, EngineName: s.Name, Default: s.Name == network.DefaultOf(uid), CreatedAt: r.Now().UTC()}
	taken, err := r.takenAddresses(ctx)
	if err != nil {
		return n, err
	}
	if err := r.addNetwork(ctx, &n, taken); err != nil {
		return n, err
	}
	s.Subnet = n.Subnet
	n.ID, err = r.Engine.CreateNetwork(ctx, s)
	if definite(err) {
		return n, errors.Join(err, r.forgetNetwork(ctx, n.EngineName))
	}
	if err != nil {
		return n, err // a lost answer is looked up by Settle
	}
	return n, r.saveNetwork(ctx, n)
}

// existing is the answer for a network that is there: somebody made it a
// moment ago, which is what was wanted of a default one.
func existing(n network.Record, what string) (network.Record, error) {
	if n.Default && n.ID != "" {
		return n, nil
	}
	why := "you have a network of that name already"
	if n.ID == "" {
		why = "it is still being made"
	}
	return n, &problem.Error{
		What: what, Why: problem.Because(problem.ErrConflict, why),
		Next: fmt.Sprintf("Use it, remove it with 'docker network rm %s', or choose another name.", n.Name),
	}
}

// takenAddresses returns what no new network may cover.
func (r *Registrar) takenAddresses(ctx context.Context) ([]netip.Prefix, error) {
	taken, err := r.Routes()
	if err != nil {
		return nil, err
	}
	all, err := r.Engine.Networks(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		taken = append(taken, n.Subnets...)
	}
	return taken, nil
}

// addNetwork counts, chooses a subnet and stores the record, in one step.
func (r *Registrar) addNetwork(ctx context.Context, n *network.Record, taken []netip.Prefix) error {
	c := r.Config().Networks
	r.mu.Lock()
	defer r.mu.Unlock()
	own := 0
	for _, other := range r.networks {
		taken = append(taken, other.Subnet)
		if other.UID == n.UID && !other.Default {
			own++
		}
	}
	if !n.Default && own >= c.PerPerson {
		return &problem.Error{
			What: "Network " + n.Name + " not created",
			Why:  problem.Because(problem.ErrLimit, fmt.Sprintf("you have %d networks, the limit is %d (networks.per_person in ds01.yaml)", own, c.PerPerson)),
			Next: "Remove one that you don't need: 'docker network ls', then 'docker network rm NAME'.", Code: "NETWORK_LIMIT",
		}
	}
	var ok bool
	if n.Subnet, ok = network.Free(c.Subnets(), c.Size, taken); !ok {
		return &problem.Error{
			What: "Network " + n.Name + " not created",
			Why:  problem.Because(problem.ErrExhausted, fmt.Sprintf("all addresses of %s are taken, by networks or by routes of the host", c.Pool)),
			Next: "Ask your administrators for a larger pool: networks.pool in ds01.yaml. Containers without a network can run: --network none.",
		}
	}
	return r.putNetwork(ctx, *n)
}

func (r *Registrar) saveNetwork(ctx context.Context, n network.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.putNetwork(ctx, n)
}

// putNetwork writes through to the store. The caller holds mu.
func (r *Registrar) putNetwork(ctx context.Context, n network.Record) error {
	if err := r.Store.SaveNetwork(ctx, n); err != nil {
		return notStored("Network "+n.Name+" not stored", err)
	}
	r.networks[n.EngineName] = n
	if err := r.Store.Flush(); err != nil {
		return notStored("Network "+n.Name+" not stored", err)
	}
	return nil
}

func (r *Registrar) forgetNetwork(ctx context.Context, engineName string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.Store.DeleteNetwork(ctx, engineName); err != nil {
		return err
	}
	if n := r.networks[engineName]; n.ID != "" {
		r.bury(networkKey(n.ID), n.UID)
	}
	delete(r.networks, engineName)
	return nil
}

// SettleNetwork brings one record in step with the engine.
func (r *Registrar) SettleNetwork(ctx context.Context, engineName string) error {
	defer r.Lock("network " + engineName)()
	n, known := r.NetworkAt(engineName)
	if !known {
		return nil
	}
	listed, err := r.Engine.Networks(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(listed, func(o network.Observed) bool {
		return o.ID == n.ID || n.ID == "" && o.Name == n.EngineName && slices.Equal(o.Subnets, []netip.Prefix{n.Subnet})
	})
	if i < 0 {
		return r.forgetNetwork(ctx, n.EngineName)
	}
	if n.ID != "" {
		return nil
	}
	n.ID = listed[i].ID
	return r.saveNetwork(ctx, n)
}

func (r *Registrar) settleNetworks(ctx context.Context) error {
	listed, err := r.Engine.Networks(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	var doubtful []string
	for name, n := range r.networks {
		if n.ID == "" || !slices.ContainsFunc(listed, func(o network.Observed) bool { return o.ID == n.ID }) {
			doubtful = append(doubtful, name)
		}
	}
	r.mu.Unlock()
	for _, name := range doubtful {
		if err := r.SettleNetwork(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
