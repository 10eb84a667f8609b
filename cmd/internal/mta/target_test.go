package mta_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/cli"
	"github.com/milter-go/milter/cmd/internal/mta"
)

func TestParseTarget(t *testing.T) {
	tests := []struct {
		name string
		text string
		want mta.Target
		err  string
	}{
		{"inet", "inet:10025@127.0.0.1", mta.Target{Text: "inet:10025@127.0.0.1", Spec: client.Spec{Network: "tcp4", Address: "127.0.0.1:10025"}}, ""},
		{"inet6", "inet6:10025@[::1]", mta.Target{Text: "inet6:10025@[::1]", Spec: client.Spec{Network: "tcp6", Address: "[::1]:10025"}}, ""},
		{"unix", "unix:/run/m", mta.Target{Text: "unix:/run/m", Spec: client.Spec{Network: "unix", Address: "/run/m"}}, ""},
		{"path", "/run/m", mta.Target{Text: "unix:/run/m", Spec: client.Spec{Network: "unix", Address: "/run/m"}}, ""},
		{"nothing", "", mta.Target{}, "no connection spec: say where the milter listens, as in -s inet:10025@127.0.0.1"},
		{"no spec", "foo", mta.Target{}, `spec doesn't have colon: "foo"; write "inet:PORT@HOST", "inet6:PORT@HOST" or "unix:PATH"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mta.ParseTarget(tt.text)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var usage *cli.UsageError
			switch {
			case tt.err == "" && err != nil, tt.err != "" && (!errors.As(err, &usage) || err.Error() != tt.err):
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestSpecOption(t *testing.T) {
	for _, args := range [][]string{{"-s", "inet:1"}, {"--connection-spec=inet:1"}} {
		var spec string
		c := &cli.Command{Name: "x", Groups: []cli.Group{{Options: []cli.Option{mta.SpecOption(&spec)}}}}
		if _, err := c.Parse(args); err != nil || spec != "inet:1" {
			t.Errorf("%q: spec %q, error %v", args, spec, err)
		}
	}
}
