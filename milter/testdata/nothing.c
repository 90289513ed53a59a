/*
 * A milter on libmilter that does nothing: it takes part in every stage and says "continue". With a second argument
 * it agrees, as ours does, to be silent where there is nothing to say: "silent" at all but the end of a message, as ours is where
 * nobody is refused earlier, "asked" at all but MAIL, RCPT and the end. "insert" is "silent" and inserts a
 * field as long as our scan header. The yardstick of BenchmarkBesideLibmilter.
 *
 *     nothing unix:/path/to/socket [silent|asked|insert]
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <libmilter/mfapi.h>

static int silent, asked, insert;

static sfsistat negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
	unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	(void)ctx; (void)f0; (void)f2; (void)f3;
	if (!silent)
		return SMFIS_ALL_OPTS;
	*pf0 = SMFIF_ADDHDRS;
	*pf1 = f1 & ((asked ? 0 : SMFIP_NR_MAIL | SMFIP_NR_RCPT) | SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_HDR | SMFIP_NR_EOH | SMFIP_NR_BODY |
		SMFIP_NOUNKNOWN | SMFIP_NODATA | SMFIP_HDR_LEADSPC | SMFIP_RCPT_REJ);
	*pf2 = *pf3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat quiet(void) { return silent ? SMFIS_NOREPLY : SMFIS_CONTINUE; }

static sfsistat onconnect(SMFICTX *c, char *h, _SOCK_ADDR *a) { (void)c; (void)h; (void)a; return quiet(); }
static sfsistat onhelo(SMFICTX *c, char *h) { (void)c; (void)h; return quiet(); }
static sfsistat onmail(SMFICTX *c, char **v) { (void)c; (void)v; return asked ? SMFIS_CONTINUE : quiet(); }
static sfsistat onrcpt(SMFICTX *c, char **v) { (void)c; (void)v; return asked ? SMFIS_CONTINUE : quiet(); }
static sfsistat onheader(SMFICTX *c, char *n, char *v) { (void)c; (void)n; (void)v; return quiet(); }
static sfsistat oneoh(SMFICTX *c) { (void)c; return quiet(); }
static sfsistat onbody(SMFICTX *c, unsigned char *b, size_t n) { (void)c; (void)b; (void)n; return quiet(); }
static sfsistat oneom(SMFICTX *c)
{
	static char value[] = "v=1; t=1700000000; h=mx.example.test; q=0123456789A; a=allow; s=0.000;\n\tm=v1.test."
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

	if (insert && smfi_insheader(c, 0, "X-Nothing-Scan", value) != MI_SUCCESS)
		return SMFIS_TEMPFAIL;
	return SMFIS_CONTINUE;
}

int main(int argc, char **argv)
{
	struct smfiDesc d;

	if (argc < 2)
		return 2;
	silent = argc > 2;
	asked = silent && strcmp(argv[2], "asked") == 0;
	insert = silent && strcmp(argv[2], "insert") == 0;
	memset(&d, 0, sizeof d);
	d.xxfi_name = "nothing";
	d.xxfi_version = SMFI_VERSION;
	d.xxfi_flags = SMFIF_ADDHDRS;
	d.xxfi_connect = onconnect;
	d.xxfi_helo = onhelo;
	d.xxfi_envfrom = onmail;
	d.xxfi_envrcpt = onrcpt;
	d.xxfi_header = onheader;
	d.xxfi_eoh = oneoh;
	d.xxfi_body = onbody;
	d.xxfi_eom = oneom;
	d.xxfi_negotiate = negotiate;
	umask(0);
	if (smfi_register(d) != MI_SUCCESS || smfi_setconn(argv[1]) != MI_SUCCESS)
		return 1;
	return smfi_main();
}
