-- miltertest plays by itself what a script leaves out, the negotiation included.
dofile(common)
connect()
step("connect", mt.conninfo(conn, "client.example", "192.0.2.1"))
finish()
need("X-Golden added", mt.eom_check(conn, MT_HDRADD, "X-Golden", "added value"))
mt.disconnect(conn)
mt.echo("done")
