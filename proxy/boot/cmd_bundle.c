/*
 * cmd_bundle - policies and routes as one signed file: built where they are written, signed where the key is, verified
 * by anybody.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/setting.h"
#include "boot/commands.h"
#include "boot/options.h"
#include "plain.h"
#include "store/bundle.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define DEFAULT_LIFE_MS (30 * INT64_C(86400000))
#define LIFE_MAX_MS (INT64_C(100) * 365 * 86400000)
#define DOCUMENT_BYTES ((size_t)16 << 20)                /* as a configuration */
#define PEM_BYTES ((size_t)64 << 10)

enum { OPT_SEQUENCE = TG_OPT_FIRST_OWN, OPT_EXPIRES, OPT_OUTPUT, OPT_KEY };
#define OPTION_OUTPUT \
    {OPT_OUTPUT, 'o', "output", "FILE", "write it there, all or nothing; -, or not said: standard output"}
static const struct tg_option build_options[] = {
    {OPT_SEQUENCE, 's', "sequence", "N", "grows from one bundle to the next; when not said: seconds since 1970"},
    {OPT_EXPIRES, 'e', "expires", "DURATION", "from now; 30d when not said"},
    OPTION_OUTPUT,
};
static const struct tg_usage build_usage = {
    .command = "bundle build",
    .line = "[--sequence N] [--expires DURATION] [-o FILE] FILE | -",
    .about = "Makes of a YAML or JSON file what is to be signed. The file has `policies`, `policies_dir` and `routes`\n"
             "as a configuration has them, or as the management API lists them; nothing else of it is taken, and no\n"
             "${VARIABLE} is looked up. Everything is compiled: errors come with file, line and column, and end it\n"
             "with 78. Where `to` may lead is for the machines to judge (allowed_upstreams).",
    .options = build_options,
    .option_count = ARRAY_LEN(build_options),
    .examples = "  tollgate bundle build policies.yaml | tollgate bundle sign --key signing.pem - > policies.bundle\n"
                "  tollgate bundle build --sequence 42 --expires 7d -o policies.json policies.yaml",
};
static const struct tg_option sign_options[] = {
    {OPT_KEY, 'k', "key", "FILE", "the private key: Ed25519, PEM"},
    OPTION_OUTPUT,
};
static const struct tg_usage sign_usage = {
    .command = "bundle sign",
    .line = "--key FILE [-o FILE] FILE | -",
    .about = "Signs what `tollgate bundle build` wrote: a compact JWS (EdDSA, RFC 8037) whose kid is the key's\n"
             "thumbprint. What no tollgate would take is not signed.",
    .options = sign_options,
    .option_count = ARRAY_LEN(sign_options),
    .examples = "  openssl genpkey -algorithm ed25519 -out signing.pem\n"
                "  openssl pkey -in signing.pem -pubout -out signing.pub\n"
                "  tollgate bundle sign --key signing.pem -o policies.bundle policies.json",
};
static const struct tg_option verify_options[] = {
    {OPT_KEY, 'k', "key", "FILE", "the public keys: Ed25519, PEM; one of them must have signed it"},
};
static const struct tg_usage verify_usage = {
    .command = "bundle verify",
    .line = "--key FILE FILE | -",
    .about = "Shows who signed a bundle and when, its sequence, its end and what is in it. Ends with 0 when a process\n"
             "would take it that has none yet, with 1 and the reason when not.",
    .options = verify_options,
    .option_count = ARRAY_LEN(verify_options),
    .examples = "  tollgate bundle verify --key signing.pub policies.bundle",
};
static const struct tg_usage usage = {
    .command = "bundle",
    .line = "build | sign | verify [OPTIONS]",
    .about = "Policies and routes as one signed file, which processes take from a disk or a URL (`bundle:` in their\n"
             "configuration) when no control plane is there. Each command has a --help of its own:\n"
             "  build   compiles policies and routes, and writes what is to be signed\n"
             "  sign    signs that with a private key\n"
             "  verify  shows who signed a bundle, when, and what is in it",
    .examples = "  openssl genpkey -algorithm ed25519 -out signing.pem\n"
                "  openssl pkey -in signing.pem -pubout -out signing.pub\n"
                "  tollgate bundle build policies.yaml | tollgate bundle sign --key signing.pem - > policies.bundle\n"
                "  tollgate bundle verify --key signing.pub policies.bundle",
};

struct bundling {
    struct tg_options o;
    const char *input, *output, *key;                    /* output NULL: standard output */
    uint64_t sequence;                                   /* 0: not said */
    int64_t life_ms;
};

/* ---- the command line ---- */

static bool take_option(struct bundling *b, int id, const char *value)
{
    switch (id) {
    case OPT_KEY: b->key = value; return true;
    case OPT_OUTPUT: b->output = strcmp(value, "-") == 0 ? NULL : value; return true;
    case OPT_SEQUENCE:
        if (tg_slice_to_u64(tg_slice_str(value), &b->sequence) && b->sequence > 0 && b->sequence <= (uint64_t)1 << 53)
            return true;
        b->o.code = tg_usage_error(b->o.usage, "--sequence is a whole number from 1 to 2^53");
        return false;
    case OPT_EXPIRES:
        if (tg_duration_parse(tg_slice_str(value), &b->life_ms) && b->life_ms >= 1000 && b->life_ms <= LIFE_MAX_MS)
            return true;
        b->o.code = tg_usage_error(b->o.usage, "--expires is a duration from now, as in 12h or 30d");
        return false;
    default: return false;
    }
}

static bool read_options(struct bundling *b, const struct tg_usage *of, int argc, char **argv)
{
    const char *value;
    int id;

    b->life_ms = DEFAULT_LIFE_MS;
    tg_options_start(&b->o, of, argc, argv);
    while ((id = tg_options_next(&b->o, &value)) != TG_OPT_END)
        if (id == TG_OPT_EXIT || !take_option(b, id, value))
            return false;
    if (tg_options_extra(&b->o, 1))
        return false;
    if (b->o.operand >= argc) {
        b->o.code = tg_usage_error(of, "a file is needed, or - for standard input");
        return false;
    }
    b->input = argv[b->o.operand];
    if (of != &build_usage && !b->key) {
        b->o.code = tg_usage_error(of, "--key is needed: the %s key, in PEM", of == &sign_usage ? "private" : "public");
        return false;
    }
    return true;
}

/* ---- octets in, octets out ---- */

static bool is_standard(const char *path)
{
    return strcmp(path, "-") == 0;
}

static const char *name_of(const char *path)
{
    return is_standard(path) ? "standard input" : path;
}

static enum tg_status read_input(const char *path, size_t max, struct tg_buf *out, struct tg_err *err)
{
    char part[16384];
    size_t n;

    if (!is_standard(path))
        return tg_file_read(path, max, out, err);
    while ((n = fread(part, 1, sizeof part, stdin)) > 0) {
        tg_buf_add(out, part, n);
        if (out->len > max)
            return tg_fail(err, TG_LIMIT, "standard input: larger than %zu bytes", max);
    }
    return ferror(stdin) ? tg_fail(err, TG_IO, "standard input cannot be read") : TG_OK;
}

/* A pipe or a device is written to; taking its name away from it (/dev/null!) would harm everybody. */
static bool is_no_file(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static enum tg_status write_through(const char *path, struct tg_slice text, struct tg_err *err)
{
    FILE *f = fopen(path, "we");
    bool good = f && fwrite(text.ptr, 1, text.len, f) == text.len;

    if (f && fclose(f) != 0)
        good = false;
    return good ? TG_OK : tg_file_fail(err, path, "cannot be written");
}

/* Behind a symbolic link, the file that it leads to. */
static enum tg_status replace(const char *path, struct tg_slice text, struct tg_err *err)
{
    char *place = realpath(path, NULL);
    enum tg_status st = tg_file_replace(place ? place : path, text, 0644, err);

    free(place);
    return st;
}

/* Frees `out`. */
static int write_output(const struct bundling *b, struct tg_buf *out)
{
    struct tg_err err = {0};
    enum tg_status st;

    tg_buf_addc(out, '\n');
    if (!b->output)
        return tg_put_out(out);
    st = is_no_file(b->output) ? write_through(b->output, tg_buf_slice(out), &err)
                               : replace(b->output, tg_buf_slice(out), &err);
    tg_buf_fini(out);
    return st == TG_OK ? TG_EXIT_OK : tg_complain(TG_EXIT_FAILURE, "%s", err.text);
}

static int cannot(struct tg_err *err)
{
    struct tg_buf text = {0};
    int code;

    tg_buf_adds(&text, err->text);
    make_plain(&text, 0);
    code = tg_complain(TG_EXIT_FAILURE, "%s", tg_buf_cstr(&text));
    tg_buf_fini(&text);
    return code;
}

/* ---- build ---- */

static struct tg_set *gather(const struct bundling *b, int *code)
{
    struct tg_problems problems = {0};
    struct tg_tree *tree = NULL;
    struct tg_set *set = NULL;
    struct tg_buf text = {0};
    struct tg_err err = {0};

    *code = TG_EXIT_CONFIG;
    if (read_input(b->input, DOCUMENT_BYTES, &text, &err) != TG_OK)
        *code = cannot(&err);
    else if (tg_tree_parse(name_of(b->input), tg_buf_slice(&text), &tree, &err) != TG_OK)
        tg_problem_add(&problems, false, "%s", err.text);
    else
        set = tg_bundle_gather(tree, &problems);
    tg_problems_print(&problems, false);
    tg_problems_fini(&problems);
    tg_tree_free(tree);
    tg_buf_fini(&text);
    return set;
}

static void tell_built(const struct tg_set *set, const struct tg_bundle_facts *facts)
{
    struct tg_buf text = {0};

    tg_buf_addf(&text, "sequence %llu: %zu policies, %zu routes, until ", (unsigned long long)facts->sequence,
                tg_set_policies(set), tg_set_routes(set));
    tg_clock_add_s(&text, facts->expires_s);
    fprintf(stderr, "%s\n", tg_buf_cstr(&text));
    tg_buf_fini(&text);
}

static int cmd_build(int argc, char **argv)
{
    struct tg_bundle_facts facts = {.issued_s = tg_clock_wall_ms() / 1000};
    struct bundling b = {0};
    struct tg_buf payload = {0};
    struct tg_err err = {0};
    struct tg_set *set;
    int code;

    if (!read_options(&b, &build_usage, argc, argv))
        return b.o.code;
    if (!(set = gather(&b, &code)))
        return code;
    facts.sequence = b.sequence ? b.sequence : (uint64_t)facts.issued_s;
    facts.expires_s = facts.issued_s + b.life_ms / 1000;
    if (tg_bundle_build(set, &facts, &payload, &err) != TG_OK)
        code = cannot(&err);
    else if ((code = write_output(&b, &payload)) == TG_EXIT_OK)
        tell_built(set, &facts);
    tg_buf_fini(&payload);
    tg_set_unref(set);
    return code;
}

/* ---- sign ---- */

static int cmd_sign(int argc, char **argv)
{
    struct tg_buf payload = {0}, pem = {0}, out = {0};
    struct bundling b = {0};
    struct tg_err err = {0};
    int code;

    if (!read_options(&b, &sign_usage, argc, argv))
        return b.o.code;
    if (read_input(b.input, TG_BUNDLE_BYTES, &payload, &err) != TG_OK ||
        tg_file_read(b.key, PEM_BYTES, &pem, &err) != TG_OK) {
        code = cannot(&err);
    } else {
        if (payload.len > 0 && payload.data[payload.len - 1] == '\n')
            payload.len--;
        if (tg_bundle_sign(tg_buf_slice(&payload), tg_buf_slice(&pem), &out, &err) == TG_OK)
            code = write_output(&b, &out);
        else
            code = cannot(&err);
    }
    tg_buf_wipe(&pem);
    tg_buf_fini(&payload);
    tg_buf_fini(&out);
    return code;
}

/* ---- verify ---- */

static enum tg_status read_keys(const char *path, struct tg_jwks **out, struct tg_err *err)
{
    struct tg_buf pem = {0};
    struct tg_err why = {0};
    struct tg_jwks *keys = NULL;
    enum tg_status st = tg_file_read(path, PEM_BYTES, &pem, err);

    if (st != TG_OK)
        return st;
    st = tg_jwks_from_pem(tg_buf_slice(&pem), &keys, &why);
    tg_buf_wipe(&pem);
    if (st != TG_OK)
        return tg_fail(err, st, "%s: %s", path, why.text);
    if (tg_jwks_algs(keys) != TG_ALG_BIT(TG_ALG_EdDSA)) {
        tg_jwks_unref(keys);
        return tg_fail(err, TG_BAD_INPUT, "%s: a bundle is verified with Ed25519 keys only", path);
    }
    *out = keys;
    return TG_OK;
}

static int show(const struct tg_set *set, const struct tg_bundle_facts *facts)
{
    struct tg_buf out = {0};

    tg_buf_addf(&out, "signed by  %s\nmade       ", facts->kid);
    tg_clock_add_s(&out, facts->issued_s);
    tg_buf_adds(&out, "\nexpires    ");
    tg_clock_add_s(&out, facts->expires_s);
    tg_buf_addf(&out, "\nsequence   %llu\npolicies   %zu\nroutes     %zu\nset        %s\n",
                (unsigned long long)facts->sequence, tg_set_policies(set), tg_set_routes(set), tg_set_digest(set));
    return tg_put_out(&out);
}

static int compile_and_show(const struct tg_set *set, const struct tg_bundle_facts *facts)
{
    struct tg_problems problems = {0};
    bool ok = tg_bundle_compiles(set, &problems);

    tg_problems_print(&problems, true);
    tg_problems_fini(&problems);
    return ok ? show(set, facts)
              : tg_complain(TG_EXIT_FAILURE, "it is signed, but does not compile; lines are those of its set");
}

static int cmd_verify(int argc, char **argv)
{
    struct tg_bundle_facts facts = {0};
    struct bundling b = {0};
    struct tg_jwks *keys = NULL;
    struct tg_set *set = NULL;
    struct tg_buf text = {0};
    struct tg_err err = {0};
    int code;

    if (!read_options(&b, &verify_usage, argc, argv))
        return b.o.code;
    if (read_keys(b.key, &keys, &err) != TG_OK || read_input(b.input, TG_BUNDLE_BYTES, &text, &err) != TG_OK ||
        tg_bundle_open(name_of(b.input), tg_buf_slice(&text), keys, tg_clock_wall_ms() / 1000, &set, &facts, &err) !=
            TG_OK)
        code = cannot(&err);
    else
        code = compile_and_show(set, &facts);
    tg_set_unref(set);
    tg_jwks_unref(keys);
    tg_buf_fini(&text);
    return code;
}

/* ---- which of them ---- */

int tg_cmd_bundle(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } verbs[] = {{"build", cmd_build}, {"sign", cmd_sign}, {"verify", cmd_verify}};
    const char *names[ARRAY_LEN(verbs)], *near;
    struct tg_options o;
    const char *value;

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (argc > 1 && strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
        names[i] = verbs[i].name;
    }
    if (argc > 1 && argv[1][0] != '-') {
        near = tg_nearest(argv[1], names, ARRAY_LEN(names));
        return tg_usage_error(&usage, "\"%.20s\" is none of build, sign and verify%s%s%s", argv[1],
                              near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    tg_options_start(&o, &usage, argc, argv);
    while (tg_options_next(&o, &value) != TG_OPT_END)
        return o.code;                                   /* there are none but --help */
    return tg_usage_error(&usage, "one of build, sign and verify is needed");
}
