-- Steps that are negotiated away, and replies.
dofile(common)
connect()
sent("negotiate", mt.negotiate(conn, 6, nil, nil))
for name, option in pairs({helo = SMFIP_NOHELO, unknown = SMFIP_NOUNKNOWN, header = SMFIP_NR_HDR, body = SMFIP_NR_BODY}) do
  need("asked for: " .. name, mt.test_option(conn, option))
end
for name, option in pairs({connect = SMFIP_NOCONNECT, mail = SMFIP_NOMAIL, rcpt = SMFIP_NORCPT, headers = SMFIP_NOHDRS,
    eoh = SMFIP_NOEOH, body = SMFIP_NOBODY, data = SMFIP_NODATA, noreply = SMFIP_NR_RCPT, spaces = SMFIP_HDR_LEADSPC}) do
  need("not asked for: " .. name, not mt.test_option(conn, option))
end
for name, action in pairs({headers = SMFIF_ADDHDRS, body = SMFIF_CHGBODY, add = SMFIF_ADDRCPT, delete = SMFIF_DELRCPT,
    change = SMFIF_CHGHDRS, quarantine = SMFIF_QUARANTINE}) do
  need("the action " .. name, mt.test_action(conn, action))
end
step("connect", mt.conninfo(conn, "client.example", "192.0.2.1"))
need("no helo", not pcall(mt.helo, conn, "client.example"))
envelope()
step("data", mt.data(conn))
sent("header", mt.header(conn, "Subject", "no reply to it"))
sent("header", mt.header(conn, "Subject", "nor to this"))
step("end-of-header", mt.eoh(conn))
sent("body", mt.bodystring(conn, "no reply\r\n"))
finish()
need("X-Golden added", mt.eom_check(conn, MT_HDRADD, "X-Golden", "added value"))
mt.disconnect(conn)
mt.echo("done")
