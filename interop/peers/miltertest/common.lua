-- What the scripts share. Each of them gets the address of the milter in sock,
-- and the path of this file in common. They say what must happen; the first thing
-- that does not ends miltertest with a failure.

-- fail prints why, as miltertest keeps the text of an error to itself.
function fail(text)
  mt.echo("FAIL: " .. text)
  error(text)
end

function need(what, ok)
  if not ok then fail("not so: " .. what) end
end

-- sent checks the result of a command to miltertest, which is nil for success.
-- (Most faults are errors already.)
function sent(what, fault)
  if fault ~= nil then fail(what .. ": " .. fault) end
end

-- answered checks the last reply of the milter.
function answered(what, want)
  local got = mt.getreply(conn)
  if got ~= want then
    fail(what .. ": the reply is " .. string.char(got) .. ", want " .. string.char(want))
  end
end

function step(what, fault, want)
  sent(what, fault)
  answered(what, want or SMFIR_CONTINUE)
end

function connect()
  conn = mt.connect(sock)
  need("connected", conn ~= nil)
end

-- greet plays a session up to the first mail.
function greet()
  connect()
  sent("negotiate", mt.negotiate(conn, 6, nil, nil))
  step("connect", mt.conninfo(conn, "client.example", "192.0.2.1"))
  step("helo", mt.helo(conn, "client.example"))
end

-- envelope begins a mail.
function envelope()
  step("envelope-from", mt.mailfrom(conn, "<from@example.com>", "SIZE=10"))
  step("envelope-recipient", mt.rcptto(conn, "<to@example.net>"))
end

-- content plays the rest of a mail, up to its end.
function content()
  step("data", mt.data(conn))
  step("header", mt.header(conn, "Subject", "one"))
  step("header", mt.header(conn, "Subject", "two"))
  step("end-of-header", mt.eoh(conn))
  step("body", mt.bodystring(conn, "first line\r\nsecond line\r\n"))
end

-- finish ends it.
function finish(want)
  step("end-of-message", mt.eom(conn), want or SMFIR_CONTINUE)
end
