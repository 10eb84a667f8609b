-- Several mails on one connection; a mail that ends early does not disturb the
-- next one.
dofile(common)
greet()
for i = 1, 3 do
  step("refused sender", mt.mailfrom(conn, "<bad@example.com>"), SMFIR_REJECT)
  envelope()
  content()
  finish()
  need("X-Golden added", mt.eom_check(conn, MT_HDRADD, "X-Golden", "added value"))
end
mt.disconnect(conn)
mt.echo("done")
