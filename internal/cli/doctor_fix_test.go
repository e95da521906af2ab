package cli_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client/clienttest"
)

func TestDoctorTakesAwayWhatIsSafe(t *testing.T) {
	f := &clienttest.Fake{
		Me: apitype.Me{User: "root", Admin: true},
		Doctor: apitype.Doctor{Orphans: []apitype.Orphan{
			{Kind: "mount", Object: "c9/0", UID: -1, Why: "of a claim that ds01 doesn't know", Fix: "it is unmounted"},
			{Kind: "volume", Object: "old._.1002", UID: 1002, Why: "ds01 has no record of it", Next: "Look what is in it."},
		}},
	}
	code, out, errs := run(t.Context(), t, f, "ds01", "doctor")
	if code != 0 || !strings.Contains(out, "mount   c9/0        of a claim") || !strings.Contains(out, "→ --fix: it is unmounted") || !strings.Contains(out, "→ Look what is in it.") {
		t.Errorf("doctor ends with %d: %s%s", code, out, errs)
	}
	code, _, errs = run(t.Context(), t, f, "ds01", "doctor", "--fix")
	if code != 2 || !strings.Contains(errs, "--yes") || len(f.Doctor.Orphans) != 2 {
		t.Errorf("without anybody to ask it ends with %d: %s; left: %+v", code, errs, f.Doctor.Orphans)
	}
	code, out, errs = run(t.Context(), t, f, "ds01", "doctor", "--fix", "--yes")
	if code != 0 || !strings.Contains(out, "mount c9/0: taken away.") || len(f.Doctor.Orphans) != 1 || f.Doctor.Orphans[0].Kind != "volume" {
		t.Errorf("it ends with %d: %s%s; left: %+v", code, out, errs, f.Doctor.Orphans)
	}
	code, out, _ = run(t.Context(), t, f, "ds01", "doctor", "--fix")
	if code != 0 || !strings.Contains(out, "Nothing to take away.") {
		t.Errorf("with nothing that may go it ends with %d: %s", code, out)
	}
}
