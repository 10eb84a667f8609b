//go:build interop

package interop_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ownReceived is the Received field of the MTA, in LF lines.
var ownReceived = regexp.MustCompile(`(?m)^Received: (?:.|\n[ \t])*\bby mta\.test\.local(?:.|\n[ \t])*\n`)

// The fields that an MTA adds by itself to a mail that has none.
var ownFields = []*regexp.Regexp{
	regexp.MustCompile(`(?m)^Message-I[dD]: <[\w.]+@mta\.test\.local>\n`),
	regexp.MustCompile(`(?m)^Date: \w\w\w, .*\n`),
	regexp.MustCompile(`(?m)^From: from@client\.test\n`),
}

// received stands for the MTA's own Received field in a normal mail: where it
// stands matters to insert-header.
const received = "Received: (the MTA)\n"

// normal returns a delivered mail in the form in which it is compared: LF lines,
// and the MTA's own Received field as one short line. Nothing else is changed.
// (The sink gets no From_ line, Return-Path, Delivered-To or X-Original-To: those
// are written by the programs that put a mail into a mailbox.)
func normal(t *testing.T, d delivery) string {
	t.Helper()
	data := strings.ReplaceAll(d.data, "\r\n", "\n")
	header, body, found := strings.Cut(data, "\n\n")
	if found {
		header += "\n"
		body = "\n" + body
	}
	loc := ownReceived.FindStringIndex(header)
	if loc == nil {
		t.Errorf("no Received field of the MTA in:\n%s", header)
		return data
	}
	header = header[:loc[0]] + received + header[loc[1]:]
	return header + body
}

// withoutOwnFields drops Message-Id, Date and From from a normal mail that was
// sent without them.
func withoutOwnFields(mail string) string {
	header, body, found := strings.Cut(mail, "\n\n")
	if found {
		header += "\n"
		body = "\n" + body
	}
	for _, re := range ownFields {
		header = re.ReplaceAllString(header, "")
	}
	return header + body
}

// envelope returns a delivery's sender and recipients without what an MTA adds by
// itself: SIZE, BODY, and an ORCPT that only repeats the recipient. Recipients
// and parameters are in alphabetical order.
func (d delivery) envelope() string {
	clean := func(path string) string {
		fields := strings.Fields(path)
		if len(fields) == 0 {
			return path
		}
		out := fields[:1]
		for _, p := range fields[1:] {
			name, value, _ := strings.Cut(p, "=")
			if name == "SIZE" || name == "BODY" || name == "ORCPT" && value == "rfc822;"+strings.Trim(fields[0], "<>") {
				continue
			}
			out = append(out, p)
		}
		slices.Sort(out[1:])
		return strings.Join(out, " ")
	}
	lines := []string{"from " + clean(d.from)}
	for _, to := range d.to {
		lines = append(lines, "to "+clean(to))
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n")
}
