package allocator_test

import (
	"testing"

	"ds01.dev/ds01/internal/gpu"
)

func TestADeviceThatIsClosedIsGrantedToNobody(t *testing.T) {
	b := setup(t)
	b.devices = b.devices[1:2]
	before, open := b.Close("MIG-0")
	if len(before.Claims) > 0 {
		t.Errorf("held by %+v", before.Claims)
	}
	_, again := b.Close("MIG-0")
	open()
	if _, _, err := b.Claim(t.Context(), order(1, "a", 1)); err == nil {
		t.Error("granted while it is closed for somebody")
	}
	again()
	r := b.claim(t, 1, "a", 1)
	h, open := b.Close("MIG-0")
	defer open()
	if len(h.Claims) != 1 || h.Claims[0].ID != r.ID || h.Claims[0].State != gpu.Pending {
		t.Errorf("held by %+v", h.Claims)
	}
}
