package apitype

import "time"

// QueuePlace is one place in the queue for GPUs. Who waits is shown to
// everybody, as who holds a GPU is; its id and its container only to its owner
// and to administrators.
type QueuePlace struct {
	ID        string     `json:"id,omitempty"`
	User      string     `json:"user"`
	UID       int        `json:"uid"`
	Own       bool       `json:"own"`
	GPUs      int        `json:"gpus"`                  // 0: as many as one container may have
	Wanted    string     `json:"gpu_request,omitempty"` // what of GPUs, unless a number says it all
	Position  int        `json:"position"`              // among those who wait, from 1; 0: it had its turn
	Slots     []string   `json:"slots"`                 // what is kept for it
	KeptUntil *time.Time `json:"kept_until,omitempty"`
	JoinedAt  time.Time  `json:"joined_at"`
	Begins    *time.Time `json:"expected_start,omitempty"` // absent: nobody knows
	Reason    string     `json:"reason"`                   // why it stands where it does
	Waits     string     `json:"waits,omitempty"`          // what it waits for
	Making    string     `json:"making,omitempty"`         // what is being cut for it, "2g.20gb on card 1"
	Container string     `json:"container,omitempty"`      // that is to be started with what it gets

	TimeSeconds int64 `json:"time_seconds,omitempty"` // within which what it is for ends, as its owner has declared; 0: no word
}

// Cutting is what is being made for somebody on the cards now.
type Cutting struct {
	Making []string `json:"making"` // "2g.20gb on card 1"; usually one
}

// JoinQueue asks for a place in the queue: for so many GPUs, or for those of a
// container that gave them back.
type JoinQueue struct {
	GPUs      int    `json:"gpus,omitempty"`
	Wanted    string `json:"gpu_request,omitempty"` // as that of CreateContainer, instead of a number
	Container string `json:"container,omitempty"`

	TimeSeconds int64 `json:"time_seconds,omitempty"` // as that of CreateContainer; of a container its own counts
}

// Reservation keeps GPUs for one person.
type Reservation struct {
	ID      string     `json:"id,omitempty"` // "" for one of the limits file
	User    string     `json:"user"`
	Devices []string   `json:"devices"` // slots, or cards with all their instances
	From    *time.Time `json:"from,omitempty"`
	Until   *time.Time `json:"until,omitempty"` // absent: without end
	Reason  string     `json:"reason,omitempty"`
	Source  string     `json:"source"`  // the line of the limits file, or who made it
	Holders []string   `json:"holders"` // "bob on 1.0": who holds some of it now, and is warned
}

// Reserve asks for a reservation.
type Reserve struct {
	User    string     `json:"user"`
	Devices []string   `json:"devices"`
	From    *time.Time `json:"from,omitempty"` // absent: now
	Until   *time.Time `json:"until,omitempty"`
	Reason  string     `json:"reason,omitempty"`
}
