package cgroup

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// question answers yes for reading and writing a character device, and goes on to
// what follows for all else: making a node is none of it. What follows finds its
// argument where it expects it.
func question(d devno) asm.Instructions {
	const character, ofKind, ofMajor, ofMinor, mknod = 2, 0, 4, 8, 1
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, ofKind, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.And.Imm(asm.R3, 0xffff),
		asm.JNE.Imm(asm.R3, character, "next"),
		asm.RSh.Imm(asm.R2, 16), // what is to be done with it
		asm.And.Imm(asm.R2, mknod),
		asm.JNE.Imm(asm.R2, 0, "next"),
		asm.LoadMem(asm.R2, asm.R1, ofMajor, asm.Word),
		asm.JNE.Imm(asm.R2, int32(d.Major), "next"), //nolint:gosec // the kernel's majors have 12 bits
		asm.LoadMem(asm.R2, asm.R1, ofMinor, asm.Word),
		asm.JNE.Imm(asm.R2, int32(d.Minor), "next"), //nolint:gosec // and its minors 20
		asm.Mov.Imm(asm.R0, 1),
		asm.Return(),
	}
}

// opening is a program that allows a device, and else what another does.
func opening(d devno, other asm.Instructions) asm.Instructions {
	all := append(question(d), other...)
	n := len(all) - len(other)
	all[n] = all[n].WithSymbol("next")
	return all
}

// asks reports whether a program begins with the question for a device, maybe after
// others.
func asks(program asm.Instructions, d devno) bool {
	for wanted := question(d); len(program) > len(wanted); program = program[len(wanted):] {
		same, alike := true, true
		for i, w := range wanted {
			g, jumps := program[i], w.OpCode.Class().IsJump() && w.OpCode.JumpOp() != asm.Exit
			alike = alike && g.OpCode == w.OpCode && g.Dst == w.Dst && g.Src == w.Src && (jumps || g.Offset == w.Offset)
			same = same && g.Constant == w.Constant
		}
		if !alike {
			return false
		}
		if same {
			return true
		}
	}
	return false
}

func load(i asm.Instructions) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{Name: "ds01_opening", Type: ebpf.CGroupDevice, License: "MIT", Instructions: i})
}

// instructionsOf returns what a loaded program does. One that calls others or looks
// things up can't be copied, and is an error that wraps errors.ErrUnsupported.
func instructionsOf(p *ebpf.Program) (asm.Instructions, error) {
	info, err := p.Info()
	if err != nil {
		return nil, err
	}
	all, err := info.Instructions()
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].IsLoadFromMap() || all[i].OpCode.Class().IsJump() && all[i].OpCode.JumpOp() == asm.Call {
			return nil, fmt.Errorf("program %q of the group's devices is not one that can be copied: %w", info.Name, errors.ErrUnsupported)
		}
		all[i].Metadata = asm.Metadata{} // of another's source
	}
	return all, nil
}

// open2 lets an open group open a device: each program that may deny it is replaced,
// at once and for those below too. Where somebody changes them meanwhile it looks again.
func open2(group int, d devno) error {
	const often = 5
	for try := 1; ; try++ {
		err := openOnce(group, d)
		if err == nil || try == often || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

func openOnce(group int, d devno) error {
	all, err := link.QueryPrograms(link.QueryOptions{Target: group, Attach: ebpf.AttachCGroupDevice})
	if err != nil {
		return err
	}
	for _, a := range all.Programs {
		p, err := ebpf.NewProgramFromID(a.ID)
		if err == nil {
			err = errors.Join(openIn(group, p, d), p.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openIn replaces one program of an open group.
func openIn(group int, p *ebpf.Program, d devno) error {
	if own, err := isClosing(p); own || err != nil {
		return err
	}
	does, err := instructionsOf(p)
	if err != nil || asks(does, d) {
		return err
	}
	opened, err := load(opening(d, does))
	if err != nil {
		return err
	}
	err = link.RawAttachProgram(link.RawAttachProgramOptions{
		Target: group, Program: opened, Attach: ebpf.AttachCGroupDevice, Flags: unix.BPF_F_ALLOW_MULTI, Anchor: link.ReplaceProgram(p),
	})
	return errors.Join(err, opened.Close())
}
