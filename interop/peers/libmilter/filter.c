/*
 * A filter on libmilter that does what its command line says, and prints what
 * it is told, so that the MTA's side of the library has a judge.
 *
 *   filter SOCKET [WORD ARGUMENT...]...
 *
 * negotiation
 *   actions HEX               register with these action flags (default: all)
 *   steps HEX                 ask for these steps as well, as far as they are offered
 *   macros STAGE NAMES        ask for these macros; STAGE is its number
 *   without EVENT             register no callback for EVENT
 * events: connect helo mail rcpt data unknown header eoh body eom
 *   answer EVENT STATUS       continue accept reject tempfail discard skip noreply
 *   reply EVENT CODE XCODE TEXT       reject or tempfail with TEXT, at most 8 lines
 *   refuse RECIPIENT CODE XCODE TEXT  the same at rcpt, for this recipient
 *   show EVENT MACRO          print the value of MACRO at EVENT
 *   save FILE                 append the bodies to FILE instead of printing them
 * end of message, in the order given
 *   add NAME VALUE, insert INDEX NAME VALUE, change INDEX NAME VALUE,
 *   delete INDEX NAME, from ADDRESS ARGUMENTS, rcpt ADDRESS,
 *   rcpt-par ADDRESS ARGUMENTS, drop ADDRESS, body FILE, quarantine REASON,
 *   progress, sleep MILLISECONDS
 *
 * A change that libmilter refuses is printed as "failed WORD ARGUMENT...".
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/un.h>

#include <libmilter/mfapi.h>

#define ALL_ACTIONS (SMFIF_ADDHDRS | SMFIF_CHGBODY | SMFIF_ADDRCPT | SMFIF_DELRCPT | SMFIF_CHGHDRS | \
	SMFIF_QUARANTINE | SMFIF_CHGFROM | SMFIF_ADDRCPT_PAR | SMFIF_SETSYMLIST)

static char **words; /* the command line behind SOCKET */

/* How many arguments a word has. */
static const struct { const char *word; int n; } arity[] = {
	{"actions", 1}, {"steps", 1}, {"macros", 2}, {"without", 1}, {"answer", 2}, {"reply", 4}, {"refuse", 4},
	{"show", 2}, {"save", 1}, {"add", 2}, {"insert", 3}, {"change", 3}, {"delete", 2}, {"from", 2}, {"rcpt", 1},
	{"rcpt-par", 2}, {"drop", 1}, {"body", 1}, {"quarantine", 1}, {"progress", 0}, {"sleep", 1},
};

static int arguments(const char *word)
{
	for (size_t i = 0; i < sizeof arity / sizeof *arity; i++)
		if (strcmp(arity[i].word, word) == 0)
			return arity[i].n;
	fprintf(stderr, "filter: unknown word %s\n", word);
	exit(2);
}

static char **next(char **w) { return w + 1 + arguments(*w); }
static int is(char **w, const char *word) { return strcmp(*w, word) == 0; }

/* find returns the first use of word whose first argument is arg, or NULL. */
static char **find(const char *word, const char *arg)
{
	for (char **w = words; *w != NULL; w = next(w))
		if (is(w, word) && (arg == NULL || strcmp(w[1], arg) == 0))
			return w;
	return NULL;
}

static unsigned long flags(const char *word, unsigned long otherwise)
{
	char **w = find(word, NULL);
	return w == NULL ? otherwise : strtoul(w[1], NULL, 16);
}

/* quoted prints n bytes between < and >. */
static void quoted(const char *s, size_t n)
{
	putchar('<');
	for (; n > 0; n--, s++) {
		unsigned char c = (unsigned char)*s;
		if (c < ' ' || c > '~' || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
	putchar('>');
}

static void text(const char *s) { putchar(' '); quoted(s, strlen(s)); }

static void show(SMFICTX *ctx, const char *event)
{
	for (char **w = words; *w != NULL; w = next(w)) {
		if (!is(w, "show") || strcmp(w[1], event) != 0)
			continue;
		char *value = smfi_getsymval(ctx, w[2]);
		printf(" %s=%s", w[2], value == NULL ? "(none)" : value);
	}
	putchar('\n');
}

static sfsistat refuse(SMFICTX *ctx, char **w)
{
	char *line[9] = {NULL}, copy[4096], *rest = copy;
	snprintf(copy, sizeof copy, "%s", w[4]);
	for (int i = 0; i < 8 && rest != NULL; i++)
		line[i] = strsep(&rest, "\n");
	int failed = line[1] == NULL
		? smfi_setreply(ctx, w[2], *w[3] == '\0' ? NULL : w[3], line[0])
		: smfi_setmlreply(ctx, w[2], *w[3] == '\0' ? NULL : w[3], line[0], line[1], line[2], line[3],
			line[4], line[5], line[6], line[7], NULL);
	if (failed != MI_SUCCESS)
		printf("failed reply %s\n", w[2]);
	return *w[2] == '5' ? SMFIS_REJECT : SMFIS_TEMPFAIL;
}

static sfsistat answer(SMFICTX *ctx, const char *event)
{
	static const struct { const char *name; sfsistat status; } statuses[] = {
		{"continue", SMFIS_CONTINUE}, {"accept", SMFIS_ACCEPT}, {"reject", SMFIS_REJECT},
		{"tempfail", SMFIS_TEMPFAIL}, {"discard", SMFIS_DISCARD}, {"skip", SMFIS_SKIP}, {"noreply", SMFIS_NOREPLY},
	};
	char **w = find("reply", event);
	if (w != NULL)
		return refuse(ctx, w);
	if ((w = find("answer", event)) != NULL)
		for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
			if (strcmp(statuses[i].name, w[2]) == 0)
				return statuses[i].status;
	return SMFIS_CONTINUE;
}

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
	unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	/* libmilter adds the no-reply bits to what it shows of the offer. */
	printf("negotiate actions=%lx steps=%lx\n", f0, f1 & 0xffffff);
	*pf0 = f0 & flags("actions", ALL_ACTIONS);
	*pf1 |= f1 & flags("steps", 0); /* and the events that have no callback */
	*pf2 = *pf3 = f2 = f3 = 0;
	for (char **w = words; *w != NULL; w = next(w))
		if (is(w, "macros") && smfi_setsymlist(ctx, atoi(w[1]), w[2]) != MI_SUCCESS)
			printf("failed macros %s\n", w[1]);
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr)
{
	char ip[INET6_ADDRSTRLEN] = "";
	printf("connect");
	text(host);
	if (addr == NULL)
		printf(" unknown");
	else if (addr->sa_family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)addr;
		printf(" %s %d", inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip), ntohs(in->sin_port));
	} else if (addr->sa_family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)addr;
		printf(" %s %d", inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip), ntohs(in6->sin6_port));
	} else
		printf(" %s", ((struct sockaddr_un *)addr)->sun_path);
	show(ctx, "connect");
	return answer(ctx, "connect");
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	printf("helo");
	text(name);
	show(ctx, "helo");
	return answer(ctx, "helo");
}

static sfsistat on_mail(SMFICTX *ctx, char **argv)
{
	printf("mail");
	for (; *argv != NULL; argv++)
		text(*argv);
	show(ctx, "mail");
	return answer(ctx, "mail");
}

static sfsistat on_rcpt(SMFICTX *ctx, char **argv)
{
	char **w = find("refuse", *argv);
	printf("rcpt");
	for (; *argv != NULL; argv++)
		text(*argv);
	show(ctx, "rcpt");
	return w != NULL ? refuse(ctx, w) : answer(ctx, "rcpt");
}

static sfsistat on_data(SMFICTX *ctx)
{
	printf("data");
	show(ctx, "data");
	return answer(ctx, "data");
}

static sfsistat on_unknown(SMFICTX *ctx, const char *line)
{
	printf("unknown");
	text(line);
	show(ctx, "unknown");
	return answer(ctx, "unknown");
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	printf("header");
	text(name);
	text(value);
	show(ctx, "header");
	return answer(ctx, "header");
}

static sfsistat on_eoh(SMFICTX *ctx)
{
	printf("eoh");
	show(ctx, "eoh");
	return answer(ctx, "eoh");
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *chunk, size_t n)
{
	char **w = find("save", NULL);
	printf("body %zu", n);
	if (w == NULL) {
		putchar(' ');
		quoted((char *)chunk, n);
	} else {
		FILE *f = fopen(w[1], "a");
		if (f == NULL || fwrite(chunk, 1, n, f) != n || fclose(f) != 0)
			printf(" not saved");
	}
	show(ctx, "body");
	return answer(ctx, "body");
}

/* replace makes the content of a file the new body, in one call. */
static int replace(SMFICTX *ctx, const char *path)
{
	static unsigned char content[1 << 20];
	FILE *f = fopen(path, "r");
	if (f == NULL)
		return MI_FAILURE;
	size_t n = fread(content, 1, sizeof content, f);
	fclose(f);
	return smfi_replacebody(ctx, content, (int)n);
}

static int change(SMFICTX *ctx, char **w)
{
	if (is(w, "add"))
		return smfi_addheader(ctx, w[1], w[2]);
	if (is(w, "insert"))
		return smfi_insheader(ctx, atoi(w[1]), w[2], w[3]);
	if (is(w, "change"))
		return smfi_chgheader(ctx, w[2], atoi(w[1]), w[3]);
	if (is(w, "delete"))
		return smfi_chgheader(ctx, w[2], atoi(w[1]), NULL);
	if (is(w, "from"))
		return smfi_chgfrom(ctx, w[1], *w[2] == '\0' ? NULL : w[2]);
	if (is(w, "rcpt"))
		return smfi_addrcpt(ctx, w[1]);
	if (is(w, "rcpt-par"))
		return smfi_addrcpt_par(ctx, w[1], *w[2] == '\0' ? NULL : w[2]);
	if (is(w, "drop"))
		return smfi_delrcpt(ctx, w[1]);
	if (is(w, "body"))
		return replace(ctx, w[1]);
	if (is(w, "quarantine"))
		return smfi_quarantine(ctx, w[1]);
	if (is(w, "progress"))
		return smfi_progress(ctx);
	if (is(w, "sleep"))
		return usleep((useconds_t)atoi(w[1]) * 1000) == 0 ? MI_SUCCESS : MI_FAILURE;
	return MI_SUCCESS; /* no change */
}

static sfsistat on_eom(SMFICTX *ctx)
{
	printf("eom");
	show(ctx, "eom");
	for (char **w = words; *w != NULL; w = next(w)) {
		if (change(ctx, w) == MI_SUCCESS)
			continue;
		printf("failed %s", *w);
		for (char **arg = w + 1; arg < next(w); arg++)
			text(*arg);
		putchar('\n');
	}
	return answer(ctx, "eom");
}

static sfsistat on_abort(SMFICTX *ctx)
{
	(void)ctx;
	puts("abort");
	return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *ctx)
{
	(void)ctx;
	puts("close");
	return SMFIS_CONTINUE;
}

#define WITH(event) (find("without", #event) == NULL ? on_##event : NULL)

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: filter SOCKET [WORD ARGUMENT...]...\n");
		return 2;
	}
	words = argv + 2;
	for (char **w = words; *w != NULL; w = next(w))
		if (w + arguments(*w) >= argv + argc) {
			fprintf(stderr, "filter: %s has too few arguments\n", *w);
			return 2;
		}
	setvbuf(stdout, NULL, _IOLBF, 0);

	struct smfiDesc description = {
		"filter", SMFI_VERSION, flags("actions", ALL_ACTIONS),
		WITH(connect), WITH(helo), WITH(mail), WITH(rcpt), WITH(header), WITH(eoh), WITH(body), WITH(eom),
		on_abort, on_close, WITH(unknown), WITH(data), on_negotiate,
	};
	if (smfi_setconn(argv[1]) != MI_SUCCESS || smfi_register(description) != MI_SUCCESS ||
		smfi_opensocket(0) != MI_SUCCESS) {
		fprintf(stderr, "filter: cannot listen at %s\n", argv[1]);
		return 1;
	}
	puts("ready");
	return smfi_main() == MI_SUCCESS ? 0 : 1;
}
