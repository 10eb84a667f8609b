"""Filters on pymilter: each class below is one, chosen by its name.

    filter.py SOCKET CLASS

They print what they are told, a line for each callback.
"""

import sys

import Milter


def say(*words):
    print(*(w if isinstance(w, str) else ascii(w) for w in words), flush=True)


class See(Milter.Base):
    """Sees everything and changes nothing."""

    def connect(self, hostname, family, hostaddr):
        say("connect", hostname, hostaddr)
        return Milter.CONTINUE

    def hello(self, hostname):
        say("helo", hostname)
        return Milter.CONTINUE

    def envfrom(self, path, *parameters):
        say("mail", path, *parameters)
        return Milter.CONTINUE

    def envrcpt(self, path, *parameters):
        say("rcpt", path, *parameters)
        return Milter.CONTINUE

    def data(self):
        say("data")
        return Milter.CONTINUE

    @Milter.decode("bytes")
    def header(self, name, value):
        say("header", name, value)
        return Milter.CONTINUE

    def eoh(self):
        say("eoh")
        return Milter.CONTINUE

    def body(self, chunk):
        say("body", chunk)
        return Milter.CONTINUE

    def unknown(self, line):
        say("unknown", line)
        return Milter.CONTINUE

    def eom(self):
        say("eom")
        return Milter.CONTINUE

    def abort(self):
        say("abort")
        return Milter.CONTINUE

    def close(self):
        say("close")
        return Milter.CONTINUE


class End(Milter.Base):
    """Is interested in the end of a mail only, and changes nothing."""

    def close(self):
        say("close")
        return Milter.CONTINUE


class Headers(End):
    def eom(self):
        self.addheader("X-Added", "at the end")
        self.addheader("X-Second", "second", 2)
        self.addheader("X-Top", "a fold\n\tand its rest", 0)
        self.chgheader("X-Two", 2, "changed")
        self.chgheader("Subject", 1, "caf\u00e9")
        self.chgheader("X-Tight", 1, None)
        self.chgheader("X-Tab", 1, "")
        return Milter.ACCEPT


@Milter.header_leading_space
class Spaces(See):
    def eom(self):
        self.addheader("X-None", "none")
        self.addheader("X-One", " one")
        self.addheader("X-Tab", "\ttab")
        return Milter.CONTINUE


class Envelope(End):
    def eom(self):
        self.chgfrom("<new@example.org>", "ENVID=x1")
        self.addrcpt("<dave@example.net>")
        self.addrcpt("erin@example.net", "NOTIFY=NEVER")
        self.delrcpt("<bob@example.net>")
        return Milter.CONTINUE


class Body(End):
    def eom(self):
        self.replacebody(b"new \xff\r\n")
        self.replacebody("text \u20ac\r\n" * 2)
        return Milter.CONTINUE


class LongBody(End):
    def eom(self):
        self.replacebody(b"0123456789abcd\r\n" * 20000)
        return Milter.CONTINUE


class Hold(End):
    def eom(self):
        self.progress()
        self.progress()
        self.quarantine("on hold for a while")
        return Milter.CONTINUE


class Refuse(End):
    """Refuses a recipient in three lines, and a second one for now."""

    def envrcpt(self, path, *parameters):
        if path == "<bob@example.net>":
            self.setreply("550", "5.1.1", "Bob has gone.", "Ask Carol.", "100%% sure")
            return Milter.REJECT
        self.setreply("450", "4.2.0", "later")
        return Milter.TEMPFAIL


class Broken(End):
    """Has a mistake: pymilter answers with a temporary failure."""

    def header(self, name, value):
        raise ValueError("the filter has a mistake")


class Silent(See):
    """Gives no reply but at the end."""

    connect = Milter.noreply(See.connect)
    hello = Milter.noreply(See.hello)
    envfrom = Milter.noreply(See.envfrom)
    envrcpt = Milter.noreply(See.envrcpt)
    data = Milter.noreply(See.data)
    header = Milter.decode("bytes")(Milter.noreply(See.header))
    eoh = Milter.noreply(See.eoh)
    body = Milter.noreply(See.body)
    unknown = Milter.noreply(See.unknown)


@Milter.rejected_recipients
class Macros(End):
    def setsymlist(self, stage, *names):
        # pymilter 1.0.5 gives bytes to its C part, which takes str only.
        self._ctx.setsymlist(stage, " ".join(names))

    @Milter.symlist("j", "{daemon_name}")
    def connect(self, hostname, family, hostaddr):
        say("connect j=%s" % self.getsymval("j"))
        return Milter.CONTINUE

    @Milter.symlist("{rcpt_addr}", "{auth_authen}")
    def envrcpt(self, path, *parameters):
        say("rcpt {rcpt_addr}=%s {auth_authen}=%s i=%s" % tuple(map(self.getsymval, ("{rcpt_addr}", "{auth_authen}", "i"))))
        return Milter.CONTINUE


class Skip(End):
    def body(self, chunk):
        say("body %d" % len(chunk))
        return Milter.SKIP


class Discard(End):
    def envfrom(self, path, *parameters):
        return Milter.DISCARD


if __name__ == "__main__":
    Milter.factory = globals()[sys.argv[2]]
    Milter.set_flags(Milter.CURR_ACTS)
    Milter.runmilter("filter", sys.argv[1])
