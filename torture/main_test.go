//go:build linux

package main

import (
	"bytes"
	"strings"
	"testing"
)

// What is wrong with the command line is said before anything is started.
func TestUsage(t *testing.T) {
	tests := []struct {
		args   string
		text   string // in what is printed
		status int
	}{
		{"--help", "--messages=N", 0},
		{"--only (", "missing closing )", 2},
		{"--only emfile --write", "--only cannot be used with --write", 2},
		{"--only emfile --soak", "nor with --soak", 2},
		{"--messages 99", "99", 2},
		{"--nonsense", "nonsense", 2},
		{"operand", "operand", 2},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var out bytes.Buffer
			if got := run(t.Context(), strings.Fields(tt.args), &out, &out); got != tt.status || !strings.Contains(out.String(), tt.text) {
				t.Errorf("status %d, %q; want %d and %q", got, out.String(), tt.status, tt.text)
			}
		})
	}
}
