package cli

import "strconv"

// Exit codes that the command line itself uses; problem.ExitCode knows the
// others.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// exitError ends the process with a code and without a message: everything
// has been said.
type exitError int

// Error returns the code in words.
func (e exitError) Error() string { return "exit code " + strconv.Itoa(int(e)) }

// exitCode is one row of the table that every help page shows a part of.
type exitCode struct {
	code    int
	meaning string
}

// exitCodes lists every exit code.
func exitCodes() []exitCode {
	return []exitCode{
		{exitDone, "done"},
		{exitFailed, "failed"},
		{exitUsage, "usage: the command line is wrong"},
		{3, "not found"},
		{4, "no capacity now"},
		{5, "denied by a limit or by policy"},
		{6, "conflict"},
		{7, "daemon or engine unavailable"},
		{exitInterrupted, "interrupted"},
	}
}

// Further exit codes of a command, beside 0, 1 and 2.
func exitsReading() []int  { return []int{5, 7, exitInterrupted} }
func exitsOfOne() []int    { return []int{3, 5, 6, 7, exitInterrupted} }
func exitsGranting() []int { return []int{3, 4, 5, 6, 7, exitInterrupted} }
