-- The milter refuses event, with letter; what it does on the rest of the mail is
-- up to the MTA.
dofile(common)
local want = string.byte(letter)
connect()
sent("negotiate", mt.negotiate(conn, 6, nil, nil))
local steps = {
  {"connect", function() return mt.conninfo(conn, "client.example", "192.0.2.1") end},
  {"helo", function() return mt.helo(conn, "client.example") end},
  {"envelope-from", function() return mt.mailfrom(conn, "<from@example.com>") end},
  {"envelope-recipient", function() return mt.rcptto(conn, "<to@example.net>") end},
  {"data", function() return mt.data(conn) end},
  {"unknown", function() return mt.unknown(conn, "XYZZY") end},
  {"header", function() return mt.header(conn, "Subject", "one") end},
  {"end-of-header", function() return mt.eoh(conn) end},
  {"body", function() return mt.bodystring(conn, "text\r\n") end},
  {"end-of-message", function() return mt.eom(conn) end},
}
for _, s in ipairs(steps) do
  if s[1] == event then
    step(s[1], s[2](), want)
    break
  end
  if s[1] ~= "unknown" then step(s[1], s[2]()) end
end
if letter == "y" and event == "end-of-message" then
  need("the SMTP reply", mt.eom_check(conn, MT_SMTPREPLY, "550", "5.7.1", "100%% no"))
end
mt.disconnect(conn)
mt.echo("done")
