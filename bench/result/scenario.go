package result

import "fmt"

// The filters, by the names they have in scenarios and results.
const (
	Floor     = "floor"
	Ours      = "ours"
	Libmilter = "libmilter"
	Emersion  = "emersion"

	// Ours in other modes.
	OursLate    = "ours-late"
	OursLateEnd = "ours-late-end"
	OursBody    = "ours-body"
)

// A Scenario is a kind of load.
type Scenario struct {
	Name          string
	Network       string // "unix" or "inet"
	Sessions      int    // at once
	Body          int    // bytes of a message's body
	NewConnection bool   // one for each message
	NoReply       bool   // no event but the last has a reply
	Mods          bool   // ten changes of the header and a new body
	OfferAll      bool   // the MTA's side offers to leave events out, too
	Pinned        bool   // filter and generator have a processor each
	Longer        int    // how many times as long as others it runs; zero is one

	// Idle makes it a scenario of sessions that do nothing: so many. Each has sent
	// IdleMessages messages with a body of Body bytes before.
	Idle         int
	IdleMessages int

	Filters []string // what is measured; the first is what the others are compared with
}

// Base is the filter that the others are compared with.
func (s Scenario) Base() string { return s.Filters[0] }

// The sizes of a body.
const (
	small = 4 << 10
	large = 64 << 10
	huge  = 1 << 20
)

// Scenarios returns all scenarios, in the order of the report.
func Scenarios() []Scenario {
	all := []string{Floor, Ours, Libmilter, Emersion}
	var list []Scenario
	for _, network := range []string{"unix", "inet"} {
		for _, s := range []Scenario{
			{Name: "c1-4k", Sessions: 1, Body: small},
			{Name: "c16-4k", Sessions: 16, Body: small},
			{Name: "c256-4k", Sessions: 256, Body: small},
			{Name: "c16-64k", Sessions: 16, Body: large},
			{Name: "c256-64k", Sessions: 256, Body: large},
			{Name: "c16-1m", Sessions: 16, Body: huge},
			{Name: "new-c16-4k", Sessions: 16, Body: small, NewConnection: true},
			{Name: "mods-c16-4k", Sessions: 16, Body: small, Mods: true},
			{Name: "noreply-c16-4k", Sessions: 16, Body: small, NoReply: true},
		} {
			s.Name, s.Network, s.Filters = network+"-"+s.Name, network, all
			list = append(list, s)
		}
	}
	return append(list,
		Scenario{Name: "unix-noreply-c1-4k", Network: "unix", Sessions: 1, Body: small, NoReply: true, Filters: []string{Floor, Ours}},
		Scenario{Name: "unix-c2000-4k", Network: "unix", Sessions: 2000, Body: small, Longer: 4, Filters: all},
		Scenario{Name: "pinned-c1-4k", Network: "unix", Sessions: 1, Body: small, Pinned: true, Filters: all},
		Scenario{Name: "pinned-c1-64k", Network: "unix", Sessions: 1, Body: large, Pinned: true, Filters: all},
		Scenario{Name: "late-c16-4k", Network: "unix", Sessions: 16, Body: small, Filters: []string{Ours, OursLate, OursLateEnd}},
		Scenario{Name: "body-c16-4k", Network: "unix", Sessions: 16, Body: small, OfferAll: true, Filters: []string{Ours, OursBody}},
		Scenario{Name: "idle", Network: "unix", Idle: 10_000, Filters: all},
		Scenario{Name: "idle-64k", Network: "unix", Idle: 10_000, IdleMessages: 1, Body: large, Filters: all},
	)
}

// Find returns the scenario of that name.
func Find(name string) (Scenario, error) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
	}
	return Scenario{}, fmt.Errorf("result: no scenario %q", name)
}
