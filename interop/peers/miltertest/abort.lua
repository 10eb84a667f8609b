-- Aborts at every point of a mail, and mails in between, on one connection.
dofile(common)
greet()
local parts = {
  function() step("envelope-from", mt.mailfrom(conn, "<from@example.com>")) end,
  function() step("envelope-recipient", mt.rcptto(conn, "<to@example.net>")) end,
  function() step("data", mt.data(conn)) end,
  function() step("header", mt.header(conn, "Subject", "one")) end,
  function() step("end-of-header", mt.eoh(conn)) end,
  function() step("body", mt.bodystring(conn, "text\r\n")) end,
}
for last = 1, #parts do
  for part = 1, last do parts[part]() end
  sent("abort", mt.abort(conn))
end
sent("a second abort", mt.abort(conn))
envelope()
content()
finish()
need("X-Golden added", mt.eom_check(conn, MT_HDRADD, "X-Golden", "added value"))
mt.disconnect(conn)
mt.echo("done")
