package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

// tryCrash kills the daemon while it cuts the card, and sees what becomes of
// that when it is there again.
func (v *verifier) tryCrash(ctx context.Context) {
	const name = "crash: the daemon is killed while it cuts the card"
	most := way{}
	for _, of := range v.card.Layouts {
		if count(of) > count(most.of) {
			most.of = of
		}
	}
	switch {
	case !v.flags.crash:
		v.skip(name, "not asked for (--crash)")
		return
	case count(most.of) < 2:
		v.skip(name, "no way to cut the card takes two steps")
		return
	}
	empty, want := apitype.MIGCard{Card: v.card.Card, UUID: v.card.UUID, Enabled: true}, most.card(v.card)
	if !v.cut(ctx, "nothing, before the crash", empty) {
		return
	}
	wanted := func() bool { return ctx.Err() == nil }
	v.check(ctx, name, "it is "+describeCard(want)+", or "+describeCard(empty)+", once the daemon is there again", func(ctx context.Context) (string, error) {
		pid, steps, err := v.killInTime(ctx, want, empty, wanted)
		if err != nil {
			return "", err
		}
		began := time.Now()
		saw, err := v.settled(want, empty) //nolint:contextcheck // what was begun is waited for
		return fmt.Sprintf("process %d killed after %d of %d steps; %s after %s", pid, steps, count(most.of), saw, time.Since(began).Round(time.Millisecond)), err
	})
}

// killInTime tries again where the daemon was killed too late, as long as that is
// wanted.
func (v *verifier) killInTime(ctx context.Context, want, empty apitype.MIGCard, wanted func() bool) (pid, steps int, err error) {
	for tries := 1; ; tries++ {
		if pid, steps, err = v.killWhileCutting(ctx, want); !errors.Is(err, errDone) || tries == 5 || !wanted() {
			return pid, steps, err
		}
		if _, err := v.settled(want, empty); err != nil { //nolint:contextcheck // what was begun is waited for
			return pid, steps, err
		}
		if err := v.c.ApplyMIG(ctx, fileOf(empty), func(apitype.MIGProgress) {}); err != nil {
			return pid, steps, err
		}
	}
}

var errDone = errors.New("it was done before the daemon was killed")

// killWhileCutting kills the daemon as soon as it tells that a step is done.
func (v *verifier) killWhileCutting(ctx context.Context, want apitype.MIGCard) (pid, steps int, err error) {
	if pid, err = lockHolder(v.paths.Lock); err != nil {
		return 0, 0, err
	}
	var killed error
	err = v.c.ApplyMIG(ctx, fileOf(want), func(p apitype.MIGProgress) {
		if p.Step != nil {
			if steps++; steps == 1 {
				killed = unix.Kill(pid, unix.SIGKILL)
			}
		}
	})
	switch {
	case killed != nil:
		return pid, steps, fmt.Errorf("kill the daemon: %w", killed)
	case err == nil:
		return pid, steps, errDone
	case steps == 0:
		return pid, steps, err
	}
	return pid, steps, nil
}

// finishes is how long what was begun may take once the daemon is there again.
const finishes = 30 * time.Second

// settled waits until the daemon is there and the card is as wanted; where that
// doesn't come, it must be empty.
func (v *verifier) settled(want, empty apitype.MIGCard) (string, error) {
	for deadline := time.Now().Add(finishes); ; time.Sleep(200 * time.Millisecond) {
		err := v.whenUp(func(ctx context.Context) error {
			_, err := v.seeCut(ctx, want)
			return err
		})
		switch {
		case err == nil:
			return "finished", nil
		case errors.Is(err, problem.ErrUnavailable): // it was waited for long enough
			return "", err
		case time.Now().After(deadline):
			_, err = v.seeCut(context.Background(), empty)
			return "undone", err
		}
	}
}

// lockHolder returns the process that holds the lock of a file, as the kernel
// tells.
func lockHolder(path string) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("find the daemon: %w", err)
	}
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, fmt.Errorf("find the daemon: %w", err)
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 4711 08:01:42 0 EOF
		if len(f) < 6 || f[1] != "FLOCK" || f[5] != file {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 1 {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("nobody holds the daemon's lock %s", path)
}
