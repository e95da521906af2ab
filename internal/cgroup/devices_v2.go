package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// On v2 programs decide which devices a group may open, and where several are
// attached all must agree. Those of runc and of systemd say what a container may
// open from its start. To take some of that back ds01 attaches one of its own,
// which denies what stands in its table. To add a device, ds01 puts in the place of
// each of theirs the same program with a question before it: is it this device? All
// of that goes with the group.

// closingName is how ds01's program is found among those of a group, and
// mostTaken is how many devices its table holds.
const (
	closingName = "ds01_devices"
	mostTaken   = 1024
)

// A devno is a key of the table, as the program looks it up.
type devno struct{ Major, Minor uint32 }

// A closing is ds01's program with its table.
type closing struct {
	program *ebpf.Program
	table   *ebpf.Map
}

func (c closing) Close() error { return errors.Join(c.program.Close(), c.table.Close()) }

// newClosing loads a program that denies nothing yet. See struct
// bpf_cgroup_dev_ctx in linux/bpf.h.
func newClosing() (c closing, err error) {
	const character, ofKind, ofMajor, ofMinor = 2, 0, 4, 8
	if err := rlimit.RemoveMemlock(); err != nil { // kernels before 5.11 count it as locked memory
		return c, err
	}
	c.table, err = ebpf.NewMap(&ebpf.MapSpec{Name: closingName, Type: ebpf.Hash, KeySize: 8, ValueSize: 1, MaxEntries: mostTaken})
	if err != nil {
		return c, err
	}
	c.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: closingName, Type: ebpf.CGroupDevice, License: "MIT",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, ofKind, asm.Word),
			asm.And.Imm(asm.R2, 0xffff),
			asm.JNE.Imm(asm.R2, character, "allow"),
			asm.LoadMem(asm.R2, asm.R1, ofMajor, asm.Word),
			asm.StoreMem(asm.RFP, -8, asm.R2, asm.Word),
			asm.LoadMem(asm.R2, asm.R1, ofMinor, asm.Word),
			asm.StoreMem(asm.RFP, -4, asm.R2, asm.Word),
			asm.LoadMapPtr(asm.R1, c.table.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -8),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "allow"),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
			asm.Mov.Imm(asm.R0, 1).WithSymbol("allow"),
			asm.Return(),
		},
	})
	if err != nil {
		return c, errors.Join(err, c.table.Close())
	}
	return c, nil
}

// findClosing finds ds01's program at an open group; ok is false where there is none.
func findClosing(group int) (c closing, ok bool, err error) {
	all, err := link.QueryPrograms(link.QueryOptions{Target: group, Attach: ebpf.AttachCGroupDevice})
	if err != nil {
		return c, false, err
	}
	for _, p := range all.Programs {
		if c.program, err = ebpf.NewProgramFromID(p.ID); err != nil {
			return c, false, err
		}
		if c.table, err = tableOf(c.program); err == nil && c.table != nil {
			return c, true, nil
		}
		if err := errors.Join(err, c.program.Close()); err != nil {
			return c, false, err
		}
	}
	return c, false, nil
}

// isClosing reports whether a program is ds01's that denies.
func isClosing(p *ebpf.Program) (bool, error) {
	info, err := p.Info()
	return err == nil && info.Name == closingName, err
}

// tableOf returns the table of ds01's program, nil of another.
func tableOf(p *ebpf.Program) (*ebpf.Map, error) {
	if own, err := isClosing(p); !own {
		return nil, err
	}
	info, err := p.Info()
	if err != nil {
		return nil, err
	}
	ids, _ := info.MapIDs()
	if len(ids) != 1 {
		return nil, fmt.Errorf("program %s has %d tables", closingName, len(ids))
	}
	return ebpf.NewMapFromID(ids[0])
}

// attachClosing attaches a new program to an open group.
func attachClosing(group int) (closing, error) {
	c, err := newClosing()
	if err != nil {
		return c, err
	}
	err = link.RawAttachProgram(link.RawAttachProgramOptions{Target: group, Program: c.program, Attach: ebpf.AttachCGroupDevice, Flags: unix.BPF_F_ALLOW_MULTI})
	if err != nil {
		return c, errors.Join(err, c.Close())
	}
	return c, nil
}

// MayChange says why Allow and Deny can't do anything on this host; nil: they can.
func (t *Tree) MayChange() error {
	if t.version == 1 {
		return nil
	}
	c, err := newClosing()
	if err != nil {
		return fmt.Errorf("load a program that closes devices: %w", err)
	}
	if err := c.Close(); err != nil {
		return err
	}
	p, err := load(opening(devno{}, asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}))
	if err != nil {
		return fmt.Errorf("load a program that opens a device: %w", err)
	}
	_, err = instructionsOf(p)
	return errors.Join(err, p.Close())
}

func (t *Tree) allow2(group string, major, minor uint32) error {
	return t.atGroup(group, func(fd int) error {
		if err := open2(fd, devno{major, minor}); err != nil {
			return err
		}
		return reopen(fd, devno{major, minor})
	})
}

// reopen takes a device out of the table of those that an open group is denied.
func reopen(group int, d devno) error {
	c, ok, err := findClosing(group)
	if err != nil || !ok { // nothing was taken
		return err
	}
	if err = c.table.Delete(d); errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	return errors.Join(err, c.Close())
}

func (t *Tree) deny2(group string, major, minor uint32) error {
	return t.atGroup(group, func(fd int) error {
		c, ok, err := findClosing(fd)
		if err == nil && !ok {
			c, err = attachClosing(fd)
		}
		if err != nil {
			return err
		}
		return errors.Join(c.table.Put(devno{major, minor}, uint8(1)), c.Close())
	})
}

// atGroup calls do with an open group.
func (t *Tree) atGroup(group string, do func(fd int) error) error {
	f, err := os.Open(filepath.Join(t.root, group)) //nolint:gosec // a folder of the kernel
	if err == nil {
		err = errors.Join(do(int(f.Fd())), f.Close())
	}
	if err != nil {
		return fmt.Errorf("change the devices of %s: %w", group, err)
	}
	return nil
}
