package gpu

import "fmt"

// Unexplained returns the devices that somebody uses although no claim holds
// them, with the reason: for Host.Taken. A process on a card with MIG on that
// none of its instances lists counts for the card.
func Unexplained(cards []Card, claims []Claim, readings map[string]Reading) map[string]string {
	held := make(map[string]bool)
	for i := range claims {
		for _, g := range claims[i].Devices {
			held[g.UUID] = held[g.UUID] || claims[i].State != Released
		}
	}
	taken := make(map[string]string)
	for _, c := range cards {
		explained := make(map[int]bool) // on the card's instances
		for _, in := range c.Instances {
			for _, p := range readings[in.UUID].Processes {
				explained[p.PID] = true
				if !held[in.UUID] {
					taken[in.UUID] = stranger(p)
				}
			}
		}
		for _, p := range readings[c.UUID].Processes {
			if !held[c.UUID] && !explained[p.PID] {
				taken[c.UUID] = stranger(p)
			}
		}
	}
	return taken
}

func stranger(p Process) string {
	return fmt.Sprintf("process %d uses it, and no claim explains that", p.PID)
}
