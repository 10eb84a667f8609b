-- Macros for every stage; what the milter makes of them is in its output.
dofile(common)
connect()
sent("negotiate", mt.negotiate(conn, 6, nil, nil))
sent("macros", mt.macro(conn, SMFIC_CONNECT, "j", "mta.example", "{daemon_name}", "MTA"))
step("connect", mt.conninfo(conn, "client.example", "192.0.2.1"))
sent("macros", mt.macro(conn, SMFIC_HELO, "{tls_version}", "TLSv1.3"))
step("helo", mt.helo(conn, "client.example"))
for mail = 1, 2 do
  sent("macros", mt.macro(conn, SMFIC_MAIL, "i", "ID" .. mail, "{auth_authen}", ""))
  step("envelope-from", mt.mailfrom(conn, "<from@example.com>"))
  sent("macros", mt.macro(conn, SMFIC_RCPT, "{rcpt_addr}", "to@example.net"))
  step("envelope-recipient", mt.rcptto(conn, "<to@example.net>"))
  step("end-of-header", mt.eoh(conn))
  finish()
end
mt.disconnect(conn)
mt.echo("done")
