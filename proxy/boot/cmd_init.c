/*
 * cmd_init - `tollgate init`: from an issuer, an audience and a service to a file that works.
 *
 * The provider is asked as a server would ask it, so that what is wrong shows now and in words. What is written was
 * read back as a configuration before.
 */
#include "base/clock.h"
#include "base/file.h"
#include "boot/commands.h"
#include "boot/options.h"
#include "boot/settings.h"
#include "http/uri.h"
#include "init_file.h"
#include "plain.h"
#include "provider_visit.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASK_MS 10000
#define FILE_MODE 0640
#define RSA_ALGS \
    (TG_ALG_BIT(TG_ALG_RS256) | TG_ALG_BIT(TG_ALG_RS384) | TG_ALG_BIT(TG_ALG_RS512) | TG_ALG_BIT(TG_ALG_PS256) | \
     TG_ALG_BIT(TG_ALG_PS384) | TG_ALG_BIT(TG_ALG_PS512))

enum { OPT_ISSUER = TG_OPT_FIRST_OWN, OPT_AUDIENCE, OPT_UPSTREAM, OPT_CA, OPT_TOKEN_FILE, OPT_PROXY, OPT_NAME, OPT_OUT,
       OPT_FORCE, OPT_OFFLINE, OPT_HTTP };
static const struct tg_option options[] = {
    {OPT_ISSUER, 'i', "issuer", "URL", "who signs the tokens: their `iss`"},
    {OPT_AUDIENCE, 'a', "audience", "AUD", "whom the tokens are for: one of their `aud`"},
    {OPT_UPSTREAM, 'u', "upstream", "URL", "the service behind, as http://127.0.0.1:3000"},
    {OPT_CA, 0, "ca-file", "FILE", "who signs the provider's TLS certificate (PEM), when the system does not know"},
    {OPT_TOKEN_FILE, 0, "token-file", "FILE", "bearer token for asking the provider, if it wants one"},
    {OPT_PROXY, 0, "proxy", "URL", "proxy for asking the provider"},
    {OPT_HTTP, 0, "allow-http", NULL, "ask an http:// issuer that is not this machine; for trying out"},
    {OPT_NAME, 'n', "name", "NAME", "what to call the provider; idp when not said"},
    {OPT_OUT, 'o', "output", "FILE | -", "where to write; tollgate.yaml when not said; -: standard output"},
    {OPT_FORCE, 'f', "force", NULL, "replace a file that exists"},
    {OPT_OFFLINE, 0, "offline", NULL, "write without asking the provider"},
};
static const struct tg_usage usage = {
    .command = "init",
    .line = "--issuer URL --audience AUD --upstream URL [OPTIONS]",
    .about = "Asks the issuer for its discovery document and keys, says in words what is wrong with them, and writes\n"
             "a commented configuration. Ends with 69 when the issuer cannot be reached, with 1 when what it says\n"
             "does not do, or when the file exists.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate init --issuer https://idp.example.com --audience my-api --upstream http://127.0.0.1:3000\n"
                "  tollgate init --issuer https://idp.corp --ca-file corp.pem --audience a --upstream http://app -o -",
};

struct initing {
    struct tg_options o;
    struct init_choice choice;
    const char *output;
    bool force, offline;
    size_t keys;                                         /* found; 0: not asked */
};

static bool read_options(struct initing *in, int argc, char **argv)
{
    struct init_choice *c = &in->choice;
    const char *value;
    int id;

    c->name = "idp";
    in->output = "tollgate.yaml";
    tg_options_start(&in->o, &usage, argc, argv);
    while ((id = tg_options_next(&in->o, &value)) != TG_OPT_END)
        switch (id) {
        case TG_OPT_EXIT: return false;
        case OPT_ISSUER: c->issuer = value; break;
        case OPT_AUDIENCE: c->audience = value; break;
        case OPT_UPSTREAM: c->upstream = value; break;
        case OPT_CA: c->ca_file = value; break;
        case OPT_TOKEN_FILE: c->token_file = value; break;
        case OPT_PROXY: c->proxy = value; break;
        case OPT_NAME: c->name = value; break;
        case OPT_OUT: in->output = value; break;
        case OPT_FORCE: in->force = true; break;
        case OPT_HTTP: c->allow_http = true; break;
        default: in->offline = true;
        }
    if (tg_options_extra(&in->o, 0))
        return false;
    if (c->issuer && c->audience && c->upstream)
        return true;
    in->o.code = tg_usage_error(&usage, "--%s is needed",
                                !c->issuer ? "issuer" : !c->audience ? "audience" : "upstream");
    return false;
}

/* What is pasted may bring a line's end along; what is written must be what was meant. */
static bool is_plain(const char *text)
{
    struct tg_buf changed = {0};
    bool same;

    tg_buf_adds(&changed, text);
    make_plain(&changed, 0);
    same = strcmp(tg_buf_cstr(&changed), text) == 0;
    tg_buf_fini(&changed);
    return same;
}

/* Mistakes in the options are told by the options' names, not by those of settings in a file that is not there yet. */
static int check_options(const struct init_choice *c)
{
    const struct { const char *option, *value; } all[] = {
        {"issuer", c->issuer}, {"audience", c->audience}, {"upstream", c->upstream}, {"ca-file", c->ca_file},
        {"token-file", c->token_file}, {"proxy", c->proxy}, {"name", c->name},
    };
    struct tg_url url;
    struct tg_err err;

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i].value && !is_plain(all[i].value))
            return tg_complain(TG_EXIT_USAGE, "--%s: there is a control character in it", all[i].option);
    if (tg_fetch_check_url(c->issuer, c->allow_http, &err) != TG_OK)
        return tg_complain(TG_EXIT_USAGE, "--issuer: %s%s", err.text,
                           strstr(err.text, "allow_http") ? ", which is --allow-http here" : "");
    if (strcmp(c->upstream, "echo:") != 0 &&
        tg_url_parse(tg_slice_trim(tg_slice_str(c->upstream)), true, &url, &err) != TG_OK)
        return tg_complain(TG_EXIT_USAGE, "--upstream: %s", err.text);
    return TG_EXIT_OK;
}

static bool is_stdout(const struct initing *in) { return strcmp(in->output, "-") == 0; }

/* Paths are given as seen from here and read as seen from the file; links in them stay links. NULL stays NULL. */
static const char *path_for_file(const struct initing *in, const char *path, char room[PATH_MAX])
{
    bool here = !is_stdout(in) && !strchr(in->output, '/');
    size_t len;

    if (!path || here || path[0] == '/' || !getcwd(room, PATH_MAX))
        return path;
    len = strlen(room);
    if (len + 1 + strlen(path) >= PATH_MAX)
        return path;
    room[len] = '/';
    strcpy(room + len + 1, path);
    return room;
}

/* ---- asking ---- */

/*
 * What its keys are for. An RSA key that does not say which algorithm fits six: then what the issuer says of its ID
 * tokens decides, else RS256, which every provider has.
 */
static tg_algs choose_algs(const struct provider_visit *v)
{
    tg_algs fits = tg_jwks_algs(v->keys), rsa = fits & RSA_ALGS;

    if (rsa != RSA_ALGS)
        return fits;
    rsa &= v->discovery.algs;
    return (fits & ~RSA_ALGS) | (rsa ? rsa : TG_ALG_BIT(TG_ALG_RS256));
}

static int visit(struct initing *in, struct inquiry *q)
{
    const struct init_choice *c = &in->choice;
    struct tg_provider p = {.name = tg_slice_str(c->name), .issuer = tg_slice_str(c->issuer),
                            .ca_file = tg_slice_str(c->ca_file), .token_file = tg_slice_str(c->token_file),
                            .proxy = tg_slice_str(c->proxy), .discovery = true, .allow_http = c->allow_http,
                            .timeout_ms = ASK_MS};
    struct provider_visit v;
    struct tg_buf words = {0};
    int code = TG_EXIT_OK;

    if (provider_visit(q, &p, &v, &words)) {
        in->keys = tg_jwks_count(v.keys);
        in->choice.algs = choose_algs(&v);
    } else if (v.answered) {
        code = tg_complain(TG_EXIT_FAILURE, "%s", tg_buf_cstr(&words));
    } else {
        code = tg_complain(TG_EXIT_UNAVAILABLE, "%s\nNothing was written. When that is mended, run this again; or "
                           "write without asking: --offline", tg_buf_cstr(&words));
    }
    provider_visit_fini(&v);
    tg_buf_fini(&words);
    return code;
}

static int ask(struct initing *in)
{
    struct inquiry *q = NULL;
    struct tg_err err;
    int code;

    if (in->offline)
        return TG_EXIT_OK;
    if (inquiry_start(&q, &err) != TG_OK)
        return tg_complain(TG_EXIT_FAILURE, "%s", err.text);
    code = visit(in, q);
    inquiry_end(q);
    return code;
}

/* ---- writing ---- */

/* What is wrong now would be wrong with the options: an upstream that is no URL, a file that is not there. */
static bool reads_back(const struct initing *in, struct tg_slice text)
{
    struct tg_problems problems = {0};
    struct tg_settings settings;
    bool ok = tg_settings_parse(is_stdout(in) ? "tollgate.yaml" : in->output, text, &settings, &problems);

    if (ok)
        tg_settings_fini(&settings);
    tg_problems_print(&problems, true);
    tg_problems_fini(&problems);
    return ok;
}

static int leave_alone(const struct initing *in)
{
    return tg_complain(TG_EXIT_FAILURE, "%s exists and was left alone; --force replaces it, -o FILE writes elsewhere",
                       in->output);
}

/* A pipe or a device is nothing to be replaced: /dev/stdout would become a file. */
static int look_at_output(const struct initing *in)
{
    struct stat st;

    if (is_stdout(in) || stat(in->output, &st) != 0)
        return TG_EXIT_OK;
    if (!in->force)
        return leave_alone(in);
    return S_ISREG(st.st_mode) ? TG_EXIT_OK
                               : tg_complain(TG_EXIT_FAILURE, "%s is no file that could be replaced; -o - writes to "
                                             "standard output", in->output);
}

/* With --force a link stays, and what it names is replaced. */
static int write_file(const struct initing *in, struct tg_slice text)
{
    char real[PATH_MAX];
    const char *path = in->force && realpath(in->output, real) ? real : in->output;
    struct tg_err err;
    int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (in->force ? 0 : O_EXCL), FILE_MODE);

    if (fd < 0 && errno == EEXIST)
        return leave_alone(in);
    if (fd < 0)
        return tg_complain(TG_EXIT_FAILURE, "%s cannot be written: %s", in->output, strerror(errno));
    close(fd);                                           /* the name is ours now */
    if (tg_file_replace(path, text, FILE_MODE, &err) != TG_OK) {
        if (!in->force)
            unlink(path);
        return tg_complain(TG_EXIT_FAILURE, "%s", err.text);
    }
    return TG_EXIT_OK;
}

static void tell_next(const struct initing *in)
{
    const char *file = is_stdout(in) ? "tollgate.yaml" : in->output;
    struct tg_buf out = {0};

    if (in->keys) {
        tg_buf_addf(&out, "%s answers: %zu usable key%s, ", in->choice.issuer, in->keys, in->keys == 1 ? "" : "s");
        provider_add_algs(&out, in->choice.algs);
        tg_buf_addc(&out, '\n');
    }
    if (!is_stdout(in))
        tg_buf_addf(&out, "wrote %s\n", file);
    tg_buf_addf(&out, "\nNext:\n  tollgate check -c %s --online\n  tollgate run -c %s\n", file, file);
    tg_buf_adds(&out, "  curl -i http://127.0.0.1:8080/ -H \"Authorization: Bearer $TOKEN\"       # 200: a good token\n"
                      "  curl -i http://127.0.0.1:8080/admin -H \"Authorization: Bearer $TOKEN\"  # 403: no admin\n");
    fputs(tg_buf_cstr(&out), is_stdout(in) ? stderr : stdout);
    tg_buf_fini(&out);
}

int tg_cmd_init(int argc, char **argv)
{
    char ca_room[PATH_MAX], token_room[PATH_MAX];
    struct initing in = {0};
    struct tg_buf text = {0};
    int code;

    if (!read_options(&in, argc, argv))
        return in.o.code;
    code = check_options(&in.choice);
    if (code == TG_EXIT_OK)
        code = look_at_output(&in);
    if (code == TG_EXIT_OK)
        code = ask(&in);
    if (code != TG_EXIT_OK)
        return code;
    in.choice.ca_file = path_for_file(&in, in.choice.ca_file, ca_room);
    in.choice.token_file = path_for_file(&in, in.choice.token_file, token_room);
    init_write(&text, &in.choice);
    if (!reads_back(&in, tg_buf_slice(&text))) {
        tg_buf_fini(&text);
        return tg_complain(TG_EXIT_USAGE, "nothing was written: with these options it would not be a configuration");
    }
    code = is_stdout(&in) ? tg_put_out(&text) : write_file(&in, tg_buf_slice(&text));
    tg_buf_fini(&text);
    if (code == TG_EXIT_OK)
        tell_next(&in);
    return code;
}
