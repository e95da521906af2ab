// Package systemd speaks to this host's systemd over D-Bus and writes no file
// itself. Where systemd owns the control groups it keeps each person's slice,
// which carries the limits over all their containers (where the engine owns
// them, see package cgroup); it looks at units, starts and stops them.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Limits bound a slice with everything below it.
type Limits struct {
	CPUs       quantity.Limit[quantity.CPUs]
	Memory     quantity.Limit[quantity.ByteSize] // swap included: there is none beyond it
	MemoryHigh quantity.Limit[quantity.ByteSize] // control groups v2 only
	Tasks      quantity.Limit[int64]
}

// A Connection speaks to this host's systemd. The zero value isn't ready; use
// New. It is safe for concurrent use.
type Connection struct {
	dial func(context.Context) (bus, error)

	mu   sync.Mutex
	conn bus // nil: not connected
}

// bus is what is used of a D-Bus connection.
type bus interface {
	GetAllPropertiesContext(ctx context.Context, unit string) (map[string]any, error)
	SetUnitPropertiesContext(ctx context.Context, name string, runtime bool, properties ...dbus.Property) error
	StartTransientUnitContext(ctx context.Context, name, mode string, properties []dbus.Property, ch chan<- string) (int, error)
	StartUnitContext(ctx context.Context, name, mode string, ch chan<- string) (int, error)
	StopUnitContext(ctx context.Context, name, mode string, ch chan<- string) (int, error)
	ReloadUnitContext(ctx context.Context, name, mode string, ch chan<- string) (int, error)
	ResetFailedUnitContext(ctx context.Context, name string) error
	ReloadContext(ctx context.Context) error
	Connected() bool
	Close()
}

// New returns a connection that is made when it is first needed, and again
// after systemd or the bus has gone away.
func New() *Connection {
	return &Connection{dial: func(ctx context.Context) (bus, error) {
		// A connection lives as long as its context, so longer than one request.
		return dbus.NewWithContext(context.WithoutCancel(ctx))
	}}
}

// Close ends the connection; the slices stay.
func (c *Connection) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
	return nil
}

// Slice returns the name of a person's slice in parent, which is one level
// such as "ds01.slice": by its name "ds01-u1001.slice" lies in it.
func Slice(parent string, uid int) string {
	return Within(parent, "u"+strconv.Itoa(uid))
}

// Within returns the name of a slice in another; its own part has no '-'.
func Within(parent, part string) string {
	return strings.TrimSuffix(parent, ".slice") + "-" + part + ".slice"
}

// Ensure starts a slice where it isn't active and gives it the limits; raising
// and lowering hold at once for what runs in it. Where nothing has changed,
// systemd is only asked. Without systemd the error is of kind
// problem.ErrUnavailable.
func (c *Connection) Ensure(ctx context.Context, name string, l Limits) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	want := properties(l)
	for again := c.conn != nil; ; again = false {
		if err := c.connect(ctx); err != nil {
			return err
		}
		if err := c.ensure(ctx, name, want); err == nil || !again || c.conn.Connected() {
			return err
		}
	}
}

// AllowDevice lets what runs in a unit open a character device for reading and
// writing, also after systemd has read its units again. /dev/char must know the
// device, or systemd passes it over. Without systemd the error is of kind
// problem.ErrUnavailable.
func (c *Connection) AllowDevice(ctx context.Context, unit string, major, minor uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.connect(ctx); err != nil {
		return err
	}
	allow := []allowed{{deviceFile(major, minor), "rw"}} // added to those that are there
	if err := c.set(ctx, unit, []dbus.Property{{Name: "DeviceAllow", Value: godbus.MakeVariant(allow)}}); err != nil {
		return fmt.Errorf("allow a device: %w", err)
	}
	return nil
}

// DenyDevice takes back what AllowDevice did, or who started the unit: what runs in it
// doesn't open the device again. Errors are those of AllowDevice.
func (c *Connection) DenyDevice(ctx context.Context, unit string, major, minor uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.connect(ctx); err != nil {
		return err
	}
	has, err := c.conn.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return fmt.Errorf("ask for the devices of %s: %w", unit, err)
	}
	var left []allowed
	if err := godbus.Store([]any{has["DeviceAllow"]}, &left); err != nil {
		return fmt.Errorf("read the devices of %s: %w", unit, err)
	}
	denied := deviceFile(major, minor)
	n := len(left)
	if left = slices.DeleteFunc(left, func(a allowed) bool { return a.Path == denied }); len(left) == n {
		return nil
	}
	// An empty list is none; what is set after it is all there is.
	err = c.set(ctx, unit, []dbus.Property{{Name: "DeviceAllow", Value: godbus.MakeVariant([]allowed{})}, {Name: "DeviceAllow", Value: godbus.MakeVariant(left)}})
	if err != nil {
		return fmt.Errorf("deny a device: %w", err)
	}
	return nil
}

func deviceFile(major, minor uint32) string { return fmt.Sprintf("/dev/char/%d:%d", major, minor) }

// allowed is an entry of DeviceAllow, see systemd.resource-control(5).
type allowed struct{ Path, Rights string }

// connect is called with the mutex held.
func (c *Connection) connect(ctx context.Context) error {
	if c.conn != nil && c.conn.Connected() {
		return nil
	}
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return problem.Because(problem.ErrUnavailable, "systemd doesn't answer: "+err.Error())
	}
	c.conn = conn
	return nil
}

func (c *Connection) ensure(ctx context.Context, name string, want []dbus.Property) error {
	has, err := c.conn.GetAllPropertiesContext(ctx, name)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", name, err)
	}
	if has["ActiveState"] != "active" {
		return c.start(ctx, name, want)
	}
	for _, p := range want {
		if has[p.Name] != p.Value.Value() {
			return c.set(ctx, name, want)
		}
	}
	return nil
}

// set changes a unit until the next boot, also after it was stopped.
func (c *Connection) set(ctx context.Context, name string, want []dbus.Property) error {
	if err := c.conn.SetUnitPropertiesContext(ctx, name, true, want...); err != nil {
		return fmt.Errorf("set properties of %s: %w", name, err)
	}
	return nil
}

// start starts a slice. One that has been changed before, or has a file, is
// known to systemd and can't be made.
func (c *Connection) start(ctx context.Context, name string, want []dbus.Property) error {
	done := make(chan string, 1)
	described := append([]dbus.Property{dbus.PropDescription("ds01: containers of one person")}, want...)
	_, err := c.conn.StartTransientUnitContext(ctx, name, "fail", described, done)
	var refused godbus.Error
	if errors.As(err, &refused) && refused.Name == "org.freedesktop.systemd1.UnitExists" {
		if err := c.set(ctx, name, want); err != nil {
			return err
		}
		_, err = c.conn.StartUnitContext(ctx, name, "fail", done)
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("start %s: %s", name, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("start %s: %w", name, ctx.Err())
	}
}

// infinity is systemd's word for no limit.
const infinity = math.MaxUint64

// properties returns what systemd.resource-control(5) calls the limits, with
// the accounting that usage is read from.
func properties(l Limits) []dbus.Property {
	cpu, swap := uint64(infinity), uint64(infinity)
	if !l.CPUs.Unlimited {
		cpu = uint64(max(l.CPUs.Value/1000, 1)) // microseconds per second
	}
	if !l.Memory.Unlimited {
		swap = 0
	}
	property := func(name string, value any) dbus.Property {
		return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
	}
	return []dbus.Property{
		property("CPUAccounting", true),
		property("MemoryAccounting", true),
		property("TasksAccounting", true),
		property("CPUQuotaPerSecUSec", cpu),
		property("MemoryHigh", orInfinity(l.MemoryHigh)),
		property("MemoryMax", orInfinity(l.Memory)),
		property("MemorySwapMax", swap),
		property("TasksMax", orInfinity(l.Tasks)),
	}
}

func orInfinity[T ~int64](l quantity.Limit[T]) uint64 {
	if l.Unlimited {
		return infinity
	}
	return uint64(max(l.Value, 1)) // systemd takes no 0
}
