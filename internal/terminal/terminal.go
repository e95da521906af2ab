// Package terminal writes a line on the terminals that a person has open, as
// wall does: on theirs only, and on none that they closed to messages. It
// reads nothing and waits for nobody.
package terminal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// Folder is where the host's pseudo-terminals are.
const Folder = "/dev/pts"

// Majors of the host's pseudo-terminals, as the kernel's list of devices says.
const (
	firstMajor = 136
	lastMajor  = 143
)

// Tell writes a line on every terminal in folder that uid owns and that takes
// messages ('mesg n' closes one), and returns how many there were. A terminal
// that is full or gone is passed over.
func Tell(folder string, uid int, text string) (told int, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, fmt.Errorf("list terminals: %w", err)
	}
	line := []byte("\r\n" + plain(text) + "\r\n")
	for _, e := range entries {
		if tell(filepath.Join(folder, e.Name()), uid, line) == nil {
			told++
		}
	}
	return told, nil
}

// TellInside writes a line on every terminal in the container of a process that
// takes messages, and returns how many there were. Of a container that was given
// the host's terminals nothing is written on.
func TellInside(pid int, text string) (told int, err error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("enter a container: %w", err)
	}
	defer unix.Close(root) //nolint:errcheck // read only
	fd, err := unix.Openat2(root, "dev/pts", &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return 0, fmt.Errorf("open a container's terminals: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // read only
	var here unix.Statfs_t
	var own, hosts unix.Stat_t
	if err := errors.Join(unix.Fstatfs(fd, &here), unix.Fstat(fd, &own), unix.Stat(Folder, &hosts)); err != nil {
		return 0, fmt.Errorf("look at a container's terminals: %w", err)
	}
	if here.Type != unix.DEVPTS_SUPER_MAGIC || own.Dev == hosts.Dev {
		return 0, nil
	}
	return Tell(fmt.Sprintf("/proc/self/fd/%d", fd), anybody, text)
}

// anybody's terminals are those of a container: who owns one in it may be any of
// its users.
const anybody = -1

var errNotTheirs = errors.New("not an open terminal of theirs")

// tell opens first and asks then, so that what is asked about is what is
// written to.
func tell(path string, uid int, line []byte) error {
	var before unix.Stat_t
	if err := unix.Lstat(path, &before); err != nil || !theirs(&before, uid) {
		return errNotTheirs // opening something else might have effects
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing is buffered
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil || !theirs(&is, uid) {
		return errNotTheirs
	}
	n, err := unix.Write(fd, line)
	if err == nil && n < len(line) {
		err = unix.EAGAIN
	}
	return err
}

// theirs reports whether it is a pseudo-terminal of uid that takes messages.
func theirs(s *unix.Stat_t, uid int) bool {
	major := unix.Major(s.Rdev)
	return s.Mode&unix.S_IFMT == unix.S_IFCHR && major >= firstMajor && major <= lastMajor &&
		(uid == anybody || int(s.Uid) == uid) && s.Mode&unix.S_IWGRP != 0
}

// plain leaves out what a terminal would obey.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}
