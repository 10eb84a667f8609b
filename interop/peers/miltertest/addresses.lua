-- Clients at addresses of all kinds; the milter's output tells how it read them.
dofile(common)
for _, ip in ipairs({"192.0.2.1", "2001:db8::1", "unspec"}) do
  connect()
  step(ip, mt.conninfo(conn, "client.example", ip))
  step("helo", mt.helo(conn, "client.example"))
  step("odd", mt.mailfrom(conn, "<\"a b\"@example.com>", "SIZE=10", "BODY=8BITMIME"))
  mt.disconnect(conn)
end
mt.echo("done")
