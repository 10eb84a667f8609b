-- The MTA goes away in the middle of a mail, without a word, and comes back.
dofile(common)
for i = 1, 5 do
  greet()
  envelope()
  step("data", mt.data(conn))
  mt.disconnect(conn, false)
end
greet()
envelope()
content()
finish()
mt.disconnect(conn)
mt.echo("done")
