package gpu

// A holding knows what of a host claims hold. Nearly all of it is where its
// slot says; only the rest is looked up by name, which takes longer.
type holding struct {
	cards     []bool          // by place in the host's list
	first     []int           // by the same, where a card's instances begin
	instances []bool          // of all cards
	strays    map[string]bool // UUIDs of what isn't where its slot says
}

func hold(cards []Card, claims []Claim) holding {
	h := holding{cards: make([]bool, len(cards)), first: make([]int, len(cards))}
	n := 0
	for i := range cards {
		h.first[i] = n
		n += len(cards[i].Instances)
	}
	h.instances = make([]bool, n)
	for i := range claims {
		if claims[i].State == Released {
			continue
		}
		for j := range claims[i].Devices {
			h.add(cards, &claims[i].Devices[j])
		}
	}
	return h
}

func (h *holding) add(cards []Card, g *Grant) {
	card, instance := place(g.Slot)
	switch {
	case card < 0 || card >= len(cards):
	case instance < 0 && cards[card].UUID == g.UUID:
		h.cards[card] = true
		return
	case instance >= 0 && instance < len(cards[card].Instances) && cards[card].Instances[instance].UUID == g.UUID:
		h.instances[h.first[card]+instance] = true
		return
	}
	if h.strays == nil {
		h.strays = map[string]bool{}
	}
	h.strays[g.UUID] = true
}

// place returns the numbers in a slot; -1 for one that isn't there.
func place(slot string) (card, instance int) {
	card, instance = -1, -1
	number := &card
	for i := range len(slot) {
		c := slot[i]
		switch {
		case c == '.' && number == &card && card >= 0:
			number = &instance
		case c < '0' || c > '9' || *number > 1<<20:
			return -1, -1
		default:
			*number = max(*number, 0)*10 + int(c-'0')
		}
	}
	return card, instance
}

// card reports whether a claim holds the card at that place as a whole.
func (h *holding) card(c *Card, at int) bool {
	return h.cards[at] || len(h.strays) > 0 && h.strays[c.UUID]
}

// instance reports whether a claim holds one instance of the card at that place.
func (h *holding) instance(in *Instance, card, at int) bool {
	return h.instances[h.first[card]+at] || len(h.strays) > 0 && h.strays[in.UUID]
}
