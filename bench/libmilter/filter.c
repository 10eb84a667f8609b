/*
 * The filter of the comparison on libmilter. What it does is said in ../work.
 *
 *   filter -s SPEC [-mode plain|mods|watch]
 *   filter -version
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <libmilter/mfapi.h>

#define FIELD "X-Checked"
#define VALUE "by the filter, and found good"
#define SUBJECT "[checked] a subject that somebody has changed"
#define LINE "The quick brown fox jumps over the lazy dog, and does it again and again.\n"
#define ADDED 9
#define BODY_SIZE 65535
#define NO_REPLY_STEPS (SMFIP_NR_HDR | SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_RCPT | \
	SMFIP_NR_DATA | SMFIP_NR_UNKN | SMFIP_NR_EOH | SMFIP_NR_BODY)

static sfsistat answer = SMFIS_CONTINUE;
static int mods;
static char names[ADDED][32];
static unsigned char body[BODY_SIZE];

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
	unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	(void)ctx, (void)f2, (void)f3;
	*pf0 = f0 & (SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_CHGBODY);
	*pf1 = answer == SMFIS_NOREPLY ? f1 & NO_REPLY_STEPS : 0;
	*pf2 = *pf3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr) { (void)ctx, (void)host, (void)addr; return answer; }
static sfsistat on_helo(SMFICTX *ctx, char *name) { (void)ctx, (void)name; return answer; }
static sfsistat on_mail(SMFICTX *ctx, char **args) { (void)ctx, (void)args; return answer; }
static sfsistat on_rcpt(SMFICTX *ctx, char **args) { (void)ctx, (void)args; return answer; }
static sfsistat on_data(SMFICTX *ctx) { (void)ctx; return answer; }
static sfsistat on_unknown(SMFICTX *ctx, const char *line) { (void)ctx, (void)line; return answer; }
static sfsistat on_header(SMFICTX *ctx, char *name, char *value) { (void)ctx, (void)name, (void)value; return answer; }
static sfsistat on_eoh(SMFICTX *ctx) { (void)ctx; return answer; }
static sfsistat on_body(SMFICTX *ctx, unsigned char *chunk, size_t n) { (void)ctx, (void)chunk, (void)n; return answer; }

static sfsistat on_eom(SMFICTX *ctx)
{
	if (!mods)
		return smfi_addheader(ctx, FIELD, VALUE) == MI_SUCCESS ? SMFIS_ACCEPT : SMFIS_TEMPFAIL;
	for (int i = 0; i < ADDED; i++)
		if (smfi_addheader(ctx, names[i], VALUE) != MI_SUCCESS)
			return SMFIS_TEMPFAIL;
	if (smfi_chgheader(ctx, "Subject", 1, SUBJECT) != MI_SUCCESS || smfi_replacebody(ctx, body, BODY_SIZE) != MI_SUCCESS)
		return SMFIS_TEMPFAIL;
	return SMFIS_ACCEPT;
}

static struct smfiDesc filter = {
	.xxfi_name = "bench",
	.xxfi_version = SMFI_VERSION,
	.xxfi_flags = SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_CHGBODY,
	.xxfi_negotiate = on_negotiate,
	.xxfi_connect = on_connect,
	.xxfi_helo = on_helo,
	.xxfi_envfrom = on_mail,
	.xxfi_envrcpt = on_rcpt,
	.xxfi_data = on_data,
	.xxfi_unknown = on_unknown,
	.xxfi_header = on_header,
	.xxfi_eoh = on_eoh,
	.xxfi_body = on_body,
	.xxfi_eom = on_eom,
};

static int usage(void)
{
	fputs("usage: filter -s SPEC [-mode plain|mods|watch] | -version\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	char *spec = NULL;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-version") == 0) {
			unsigned int major, minor, patch;
			smfi_version(&major, &minor, &patch);
			printf("%u.%u.%u\n", major, minor, patch);
			return 0;
		}
		if (i + 1 == argc)
			return usage();
		if (strcmp(argv[i], "-s") == 0) {
			spec = argv[++i];
		} else if (strcmp(argv[i], "-mode") == 0) {
			const char *mode = argv[++i];
			if (strcmp(mode, "mods") == 0)
				mods = 1;
			else if (strcmp(mode, "watch") == 0)
				answer = SMFIS_NOREPLY;
			else if (strcmp(mode, "plain") != 0)
				return usage();
		} else {
			return usage();
		}
	}
	for (int i = 0; i < ADDED; i++)
		snprintf(names[i], sizeof names[i], "%s-%d", FIELD, i);
	for (int i = 0; i < BODY_SIZE; i++)
		body[i] = (unsigned char)LINE[i % (sizeof LINE - 1)];

	/* As the runtime of Go does for the other filters. */
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* A backlog for all the sessions that the comparison opens at once. */
	if (spec == NULL || smfi_setconn(spec) != MI_SUCCESS || smfi_setbacklog(4096) != MI_SUCCESS ||
		smfi_register(filter) != MI_SUCCESS)
		return usage();
	return smfi_main() == MI_SUCCESS ? 0 : 1;
}
