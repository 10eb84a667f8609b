//go:build interop

package interop_test

import "strings"

var headerChanges = []change{
	{
		name: "nothing", do: doing(), want: func(m *model) {},
	}, {
		name: "add", do: addHeader("X-New", "value"),
		want: func(m *model) { m.add("X-New: value") },
	}, {
		name: "add three", do: doing(addHeader("X-New", "1"), addHeader("X-Newer", "2"), addHeader("X-New", "3")),
		want:     func(m *model) { m.add("X-New: 1", "X-Newer: 2", "X-New: 3") },
		sendmail: func(m *model) { m.add("X-New: 3", "X-New: 1", "X-Newer: 2") },
	}, {
		name: "add one of a name that is there", do: addHeader("X-Dup", "new"),
		want:     func(m *model) { m.add("X-Dup: new") },
		sendmail: func(m *model) { m.insert(6, "X-Dup: new") },
	}, {
		name: "add a second Message-ID", do: addHeader("Message-ID", "<new@client.test>"),
		want:     func(m *model) { m.add("Message-ID: <new@client.test>") },
		sendmail: func(m *model) { m.insert(1, "Message-Id: <new@client.test>") }, // the place and spelling of its own
	}, {
		name: "add a second Date", do: addHeader("Date", "Tue, 02 Jan 2024 00:00:00 +0000"),
		want:     func(m *model) { m.add("Date: Tue, 02 Jan 2024 00:00:00 +0000") },
		sendmail: func(m *model) { m.insert(1, "Date: Tue, 02 Jan 2024 00:00:00 +0000") },
	}, {
		name: "add a second Subject", do: addHeader("Subject", "again"),
		want:     func(m *model) { m.add("Subject: again") },
		sendmail: func(m *model) { m.insert(3, "Subject: again") },
	}, {
		name: "add folded", do: addHeader("X-New", "one\n\ttwo\n three"),
		want: func(m *model) { m.add("X-New: one\n\ttwo\n three") },
	}, {
		name: "add folded with CRLF", do: addHeader("X-New", "one\r\n\ttwo\r\n three"),
		want: func(m *model) { m.add("X-New: one\n\ttwo\n three") },
	}, {
		name: "add empty", do: addHeader("X-New", ""),
		want: func(m *model) { m.add("X-New: ") },
	}, {
		name: "add with odd white space", do: addHeader("X-New", "  two\tspaces "),
		want: func(m *model) { m.add("X-New:   two\tspaces ") },
	}, {
		name: "add 8-bit", do: addHeader("X-New", "na\xc3\xafve \xe9"),
		want: func(m *model) { m.add("X-New: na\xc3\xafve \xe9") },
	}, {
		// Postfix cuts what is beyond 60000 bytes.
		name: "add 50000 bytes in folded lines", do: addHeader("X-New", "v"+strings.Repeat("\n "+strings.Repeat("w", 48), 1000)),
		want: func(m *model) { m.add("X-New: v" + strings.Repeat("\n "+strings.Repeat("w", 48), 1000)) },
	}, {
		name: "insert at 0", do: insertHeader(0, "X-New", "value"),
		want: func(m *model) { m.insert(0, "X-New: value") },
	}, {
		name: "insert at 1", do: insertHeader(1, "X-New", "value"),
		want: func(m *model) { m.insert(1, "X-New: value") },
	}, {
		name: "insert at 4", do: insertHeader(4, "X-New", "value"),
		want:     func(m *model) { m.insert(4, "X-New: value") },
		sendmail: func(m *model) { m.insert(1, "X-New: value") }, // it counts fields that it did not have to add
	}, {
		name: "insert at 2", do: insertHeader(2, "X-New", "value"),
		want:     func(m *model) { m.insert(2, "X-New: value") },
		sendmail: func(m *model) { m.insert(1, "X-New: value") },
	}, {
		name: "insert at 10", do: insertHeader(10, "X-New", "value"),
		want:     func(m *model) { m.insert(10, "X-New: value") },
		sendmail: func(m *model) { m.insert(3, "X-New: value") },
	}, {
		name: "insert beyond the end", do: insertHeader(100, "X-New", "value"),
		want: func(m *model) { m.add("X-New: value") },
	}, {
		name: "insert twice at 0", do: doing(insertHeader(0, "X-New", "first"), insertHeader(0, "X-New", "second")),
		want: func(m *model) { m.insert(0, "X-New: second", "X-New: first") },
	}, {
		name: "insert at 1 one of a name that is there", do: insertHeader(1, "X-Dup", "new"),
		want: func(m *model) { m.insert(1, "X-Dup: new") },
	}, {
		name: "change the first", do: changeHeader("X-Dup", 1, "changed"),
		want: func(m *model) { m.header[6] = "X-Dup: changed" },
	}, {
		name: "change number 0", do: changeHeader("X-Dup", 0, "changed"),
		want: func(m *model) { m.header[6] = "X-Dup: changed" },
	}, {
		name: "change the second", do: changeHeader("X-Dup", 2, "changed"),
		want: func(m *model) { m.header[8] = "X-Dup: changed" },
	}, {
		name: "change one beyond the last", do: changeHeader("X-Dup", 4, "changed"),
		want:     func(m *model) { m.add("X-Dup: changed") },
		sendmail: func(m *model) { m.insert(6, "X-Dup: changed") },
	}, {
		name: "change one that is not there", do: changeHeader("X-New", 1, "value"),
		want: func(m *model) { m.add("X-New: value") },
	}, {
		name: "change in another case", do: changeHeader("x-dup", 2, "changed"),
		want:     func(m *model) { m.header[8] = "x-dup: changed" },
		sendmail: func(m *model) { m.header[8] = "X-Dup: changed" },
	}, {
		name: "change the Subject, folded", do: changeHeader("Subject", 1, "[spam]\n\tsample"),
		want: func(m *model) { m.header[3] = "Subject: [spam]\n\tsample" },
	}, {
		name: "change Received", do: changeHeader("Received", 1, "from nowhere"),
		want:     func(m *model) { m.add("Received: from nowhere") },
		sendmail: func(m *model) { m.insert(0, "Received: from nowhere") },
	}, {
		name: "delete the first", do: deleteHeader("X-Dup", 1),
		want: func(m *model) { m.drop(6) },
	}, {
		name: "delete the last", do: deleteHeader("X-Dup", 3),
		want: func(m *model) { m.drop(9) },
	}, {
		name: "delete one that is not there", do: doing(deleteHeader("X-Dup", 4), deleteHeader("X-New", 1)),
		want: func(m *model) {},
	}, {
		name: "delete all from the last", do: doing(deleteHeader("X-Dup", 3), deleteHeader("X-Dup", 2), deleteHeader("X-Dup", 1)),
		want: func(m *model) { m.drop(6, 8, 9) },
	}, {
		name: "delete the first and the second", do: doing(deleteHeader("X-Dup", 1), deleteHeader("X-Dup", 2)),
		want:     func(m *model) { m.drop(6, 9) }, // the second of those that were left
		sendmail: func(m *model) { m.drop(6, 8) },
	}, {
		name: "delete the first twice", do: doing(deleteHeader("X-Dup", 1), deleteHeader("X-Dup", 1)),
		want:     func(m *model) { m.drop(6, 8) },
		sendmail: func(m *model) { m.drop(6) },
	}, {
		name: "delete and add", do: doing(deleteHeader("X-Other", 1), addHeader("X-Other", "new")),
		want:     func(m *model) { m.drop(7); m.add("X-Other: new") },
		sendmail: func(m *model) { m.header[7] = "X-Other: new" },
	},
}

var longLine = strings.Repeat("long ", 1000)

var mebibyte = strings.Repeat("sixty-three bytes and a line feed make sixty-four of them here.\n", 1<<20/64)

var bodyChanges = []change{
	{
		name: "body shorter", do: replaceBody("short\r\n"),
		want: func(m *model) { m.body = "short\n" },
	}, {
		name: "body longer", do: replaceBody(strings.Repeat("a line of the body\r\n", 5000)),
		want: func(m *model) { m.body = strings.Repeat("a line of the body\n", 5000) },
	}, {
		name: "body empty", do: replaceBody(""),
		want: func(m *model) { m.body = "" },
	}, {
		name: "body of 1 MiB", do: replaceBody(strings.ReplaceAll(mebibyte, "\n", "\r\n")),
		want: func(m *model) { m.body = mebibyte },
	}, {
		name: "body with LF", do: replaceBody("one\ntwo\n"),
		want: func(m *model) { m.body = "one\ntwo\n" },
	}, {
		name: "body without a newline at its end", do: replaceBody("one\r\ntwo"),
		want: func(m *model) { m.body = "one\ntwo\n" },
	}, {
		name: "body with long lines", do: replaceBody(longLine + "\r\n" + longLine + "\r\n"),
		want: func(m *model) { m.body = longLine + "\n" + longLine + "\n" },
	}, {
		name: "body with dots and empty lines", do: replaceBody("\r\n.\r\n..\r\n\r\n.dot\r\n\r\n"),
		want: func(m *model) { m.body = "\n.\n..\n\n.dot\n\n" },
	}, {
		name: "body with 8-bit bytes", do: replaceBody("na\xc3\xafve \xe9\xff\x80\r\n"),
		want: func(m *model) { m.body = "na\xc3\xafve \xe9\xff\x80\n" },
	}, {
		name: "body in pieces", do: replaceBody("on", "e\r", "\ntwo\r\n", "", "three\r\n"),
		want: func(m *model) { m.body = "one\ntwo\nthree\n" },
	}, {
		name: "body in pieces with other changes between",
		do: doing(replaceBody("one\r\n"), addHeader("X-New", "1"), replaceBody("two\r\n"), insertHeader(0, "X-Newer", "2"),
			addRecipient("<c@test.local>", ""), replaceBody("three\r\n")),
		want: func(m *model) {
			m.body = "one\ntwo\nthree\n"
			m.add("X-New: 1")
			m.insert(0, "X-Newer: 2")
			m.to = append(m.to, "<c@test.local>")
		},
	}, {
		// An empty piece of body keeps the MTA waiting in place of a progress, which
		// would end the replacement in Postfix.
		name: "body in pieces with progress between",
		do:   doing(replaceBody("one\r\n"), progress, replaceBody("two\r\n"), progress, progress, replaceBody("three\r\n")),
		want: func(m *model) { m.body = "one\ntwo\nthree\n" },
	}, {
		name: "progress before and after everything",
		do:   doing(progress, addHeader("X-New", "1"), progress, replaceBody("one\r\n"), progress),
		want: func(m *model) { m.body = "one\n"; m.add("X-New: 1") },
	},
}

var envelopeChanges = []change{
	{
		name: "from", do: changeFrom("<new@client.test>", ""),
		want: func(m *model) { m.from = "<new@client.test>" },
	}, {
		name: "from without brackets", do: changeFrom("new@client.test", ""),
		want: func(m *model) { m.from = "<new@client.test>" },
	}, {
		name: "from null", do: changeFrom("<>", ""),
		want: func(m *model) { m.from = "<>" },
	}, {
		name: "from with parameters", do: changeFrom("<new@client.test>", "RET=HDRS ENVID=abc"),
		want: func(m *model) { m.from = "<new@client.test> ENVID=abc RET=HDRS" },
	}, {
		name: "recipient added", do: addRecipient("<c@test.local>", ""),
		want: func(m *model) { m.to = append(m.to, "<c@test.local>") },
	}, {
		name: "recipient added without brackets", do: addRecipient("c@test.local", ""),
		want: func(m *model) { m.to = append(m.to, "<c@test.local>") },
	}, {
		name: "recipient added with parameters", do: addRecipient("<c@test.local>", "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old@client.test"),
		want: func(m *model) {
			m.to = append(m.to, "<c@test.local> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old@client.test")
		},
	}, {
		name: "recipient added that is there", do: addRecipient("<a@test.local>", ""),
		want:     func(m *model) { m.to = append(m.to, "<a@test.local>") }, // twice
		sendmail: func(m *model) {},
	}, {
		name: "recipient deleted", do: deleteRecipient("<a@test.local>"),
		want: func(m *model) { m.to = m.to[1:] },
	}, {
		name: "recipient deleted without brackets", do: deleteRecipient("b@test.local"),
		want: func(m *model) { m.to = m.to[:1] },
	}, {
		name: "recipient deleted in another case", do: deleteRecipient("<A@test.local>"),
		want: func(m *model) {},
	}, {
		name: "recipient deleted that is not there", do: deleteRecipient("<c@test.local>"),
		want: func(m *model) {},
	}, {
		name: "recipient added and deleted", do: doing(addRecipient("<c@test.local>", ""), deleteRecipient("<c@test.local>")),
		want: func(m *model) {},
	}, {
		name: "recipients replaced", do: doing(deleteRecipient("<a@test.local>"), deleteRecipient("<b@test.local>"), addRecipient("<c@test.local>", "")),
		want: func(m *model) { m.to = []string{"<c@test.local>"} },
	}, {
		name: "recipients deleted", do: doing(deleteRecipient("<a@test.local>"), deleteRecipient("<b@test.local>")),
		lost: true,
	}, {
		name: "quarantine", do: quarantine("looks odd"),
		want: func(m *model) {}, held: true,
	}, {
		name: "everything",
		do: doing(quarantine("for the test"), addHeader("X-New", "1"), insertHeader(1, "X-Top", "2"), changeHeader("Subject", 1, "changed"),
			deleteHeader("X-Dup", 3), deleteHeader("X-Dup", 1), replaceBody("new\r\n", "body\r\n"), changeFrom("<new@client.test>", "ENVID=abc"),
			addRecipient("<c@test.local>", ""), addRecipient("<d@test.local>", "NOTIFY=NEVER"), deleteRecipient("<a@test.local>")),
		want: func(m *model) {
			m.header[3] = "Subject: changed"
			m.drop(6, 9)
			m.insert(1, "X-Top: 2")
			m.add("X-New: 1")
			m.body = "new\nbody\n"
			m.from = "<new@client.test> ENVID=abc"
			m.to = []string{"<b@test.local>", "<c@test.local>", "<d@test.local> NOTIFY=NEVER"}
		},
		held: true,
	},
}
