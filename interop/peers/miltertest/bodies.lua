-- Bodies of many sizes, in many chunks. The milter keeps none of it.
dofile(common)
greet()
for _, size in ipairs({1, 100, 10000, 65535, 300000}) do
  envelope()
  step("data", mt.data(conn))
  step("end-of-header", mt.eoh(conn))
  sent("body", mt.bodyrandom(conn, size))
  answered("body", SMFIR_CONTINUE)
  finish()
end
envelope()
step("data", mt.data(conn))
step("end-of-header", mt.eoh(conn))
step("body from a file", mt.bodyfile(conn, common))
finish()
mt.disconnect(conn)
mt.echo("done")
