/*
 * cmd_dev - `tollgate dev`: everything thrown together at once, on loopback, to see it work and to develop against.
 *
 * A throw-away ES256 issuer lives in this process only: its private key is never written, so tokens of an earlier run
 * mean nothing.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "boot/commands.h"
#include "boot/options.h"
#include "boot/reload.h"
#include "jose/mint.h"
#include <stdio.h>

struct dev {
    const char *address, *health_address, *upstream, *access_log;
};

#define ISSUER "https://dev.tollgate.example"
#define AUDIENCE "dev"

/* The configuration that `dev` stands for, ready to be kept as a beginning: printed by --print-config. */
static void write_config(struct tg_buf *out, const struct dev *o, const struct tg_signer *signer)
{
    tg_buf_adds(out, "{\"address\":");
    tg_json_add_string(out, tg_slice_str(o->address));
    tg_buf_adds(out, ",\"health_address\":");
    tg_json_add_string(out, tg_slice_str(o->health_address));
    tg_buf_adds(out, ",\"workers\":1,\"access_log\":{\"output\":");
    tg_json_add_string(out, tg_slice_str(o->access_log));
    tg_buf_adds(out,
                "},\"pass_identity_headers\":true,\"jwt_claims_headers\":{\"X-Email\":\"email\",\"X-User\":\"sub\"},"
                "\"identity_providers\":{\"dev\":{\"issuer\":\"" ISSUER "\",\"audiences\":[\"" AUDIENCE "\"],"
                "\"supported_algs\":[\"ES256\"],\"jwks\":");
    tg_signer_jwks(signer, out);
    tg_buf_adds(out, "}},\"policies\":[{\"name\":\"example-com\",\"ppl\":{\"allow\":{\"and\":[{\"domain\":{\"is\":"
                     "\"example.com\"}}]}},"
                     "\"explanation\":\"Only addresses of example.com may pass.\","
                     "\"remediation\":\"Ask for an example.com account.\"}],"
                     "\"routes\":[{\"name\":\"app\",\"to\":");
    tg_json_add_string(out, tg_slice_str(o->upstream));
    tg_buf_adds(out, ",\"policies\":[\"example-com\"],\"show_error_details\":true,\"allow_websockets\":true}]}");
}

static void mint(const struct tg_signer *signer, const char *subject, const char *email, int64_t lives_s,
                 struct tg_buf *out)
{
    int64_t now_s = tg_clock_wall_ms() / 1000;
    struct tg_buf claims = {0};

    tg_buf_addf(&claims,
                "{\"iss\":\"" ISSUER "\",\"aud\":\"" AUDIENCE
                "\",\"sub\":\"%s\",\"email\":\"%s\",\"iat\":%lld,\"exp\":%lld}",
                subject, email, (long long)(lives_s < 0 ? now_s + 2 * lives_s : now_s), (long long)(now_s + lives_s));
    if (tg_signer_sign(signer, tg_buf_slice(&claims), "JWT", out, NULL) != TG_OK)
        tg_panic(__FILE__, __LINE__, "a fresh key does not sign");
    tg_buf_fini(&claims);
}

static void print_start(const struct tg_settings *s, const char *upstream, const struct tg_signer *signer)
{
    struct tg_slice address = s->addresses.items[0];
    static const struct {
        const char *what, *subject, *email;
        int64_t lives_s;
    } tokens[] = {
        {"allowed (200)", "alice", "alice@example.com", 8 * 3600},
        {"another domain (403)", "mallory", "mallory@elsewhere.example", 8 * 3600},
        {"expired (401)", "alice", "alice@example.com", -3600},
    };

    printf("tollgate dev: http://" TG_S_FMT " -> %s", TG_S_ARG(address), upstream);
    if (s->health_address.ptr)
        printf("   health and metrics: http://" TG_S_FMT, TG_S_ARG(s->health_address));
    printf("\n");
    printf("issuer " ISSUER ", audience " AUDIENCE ", policy: addresses of example.com; Ctrl-C ends it\n");
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        struct tg_buf token = {0};

        mint(signer, tokens[i].subject, tokens[i].email, tokens[i].lives_s, &token);
        printf("\n# %s\ncurl -i http://" TG_S_FMT "/ -H 'Authorization: Bearer %s'\n", tokens[i].what,
               TG_S_ARG(address), tg_buf_cstr(&token));
        tg_buf_fini(&token);
    }
    printf("\n# no token (401)\ncurl -i http://" TG_S_FMT "/\n\n", TG_S_ARG(address));
    fflush(stdout);
}

enum { OPT_UPSTREAM = TG_OPT_FIRST_OWN, OPT_ADDRESS, OPT_HEALTH, OPT_LOG };
static const struct tg_option options[] = {
    {OPT_UPSTREAM, 'u', "upstream", "URL", "the service to stand before (default echo:, the built-in echo)"},
    {OPT_ADDRESS, 'a', "address", "ADDRESS", "where to listen (default 127.0.0.1:8080)"},
    {OPT_HEALTH, 0, "health-address", "ADDRESS", "health and metrics (default 127.0.0.1:9090; none: off)"},
    {OPT_LOG, 0, "access-log", "OUTPUT", "stdout, stderr, off or a file (default stdout)"},
};
static const struct tg_usage usage = {
    .command = "dev",
    .line = "[--upstream URL]",
    .about = "Serves at once with a throw-away issuer and key, to see tollgate work and to develop against it. Prints\n"
             "ready-to-paste curl lines with their tokens: allowed, denied, expired, none.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate dev\n"
                "  tollgate dev --upstream http://127.0.0.1:3000\n",
};

/* Loopback only: tokens that pass stand in the output of `dev`. Looked at last, for the environment may change
 * addresses. */
static bool loopback_only(struct tg_slice text)
{
    struct tg_listen_address at;

    return tg_listen_parse(text, &at, NULL) == TG_OK && tg_listen_is_loopback(&at);
}

/* The address that is not loopback, or empty. */
static struct tg_slice exposed(const struct tg_settings *s)
{
    for (size_t i = 0; i < s->addresses.count; i++) {
        if (!loopback_only(s->addresses.items[i]))
            return s->addresses.items[i];
    }
    return s->health_address.ptr && !loopback_only(s->health_address) ? s->health_address : TG_S("");
}

static int serve(const struct dev *dev)
{
    struct tg_signer *signer = NULL;
    struct tg_settings settings = {0};
    struct tg_problems problems = {0};
    struct tg_server server;
    struct tg_buf text = {0};
    struct tg_err err = {0};
    int code = TG_EXIT_CONFIG;

    tg_signals_block();
    if (tg_signer_generate(TG_ALG_ES256, &signer, &err) != TG_OK)
        return tg_complain(TG_EXIT_FAILURE, "%s", tg_err_text(&err));
    write_config(&text, dev, signer);
    bool ok = tg_settings_parse("dev", tg_buf_slice(&text), &settings, &problems);
    tg_problems_print(&problems, true);
    if (!ok) {
        tg_settings_fini(&settings);
        goto out;
    }
    struct tg_slice open = exposed(&settings);
    if (open.len) {
        code = tg_complain(TG_EXIT_USAGE, "dev listens on loopback only, not on " TG_S_FMT, TG_S_ARG(open));
        tg_settings_fini(&settings);
        goto out;
    }
    tg_log_set_text(true);
    enum tg_status st = tg_server_start(&server, &settings, &err);
    if (st != TG_OK) {
        code = tg_complain(st == TG_DENIED ? TG_EXIT_PERMISSION : st == TG_UNSUPPORTED ? TG_EXIT_CONFIG
                           : TG_EXIT_UNAVAILABLE, "%s", tg_err_text(&err));
        goto out;
    }
    print_start(&server.settings, dev->upstream, signer);
    code = tg_serve(&server, NULL);
out:
    tg_buf_fini(&text);
    tg_problems_fini(&problems);
    tg_signer_free(signer);
    return code;
}

int tg_cmd_dev(int argc, char **argv)
{
    struct dev dev = {"127.0.0.1:8080", "127.0.0.1:9090", "echo:", "stdout"};
    struct tg_options o;
    const char *value;
    int id;

    tg_options_start(&o, &usage, argc, argv);
    while ((id = tg_options_next(&o, &value)) != TG_OPT_END) {
        switch (id) {
        case OPT_UPSTREAM: dev.upstream = value; break;
        case OPT_ADDRESS: dev.address = value; break;
        case OPT_HEALTH: dev.health_address = value; break;
        case OPT_LOG: dev.access_log = value; break;
        default: return o.code;
        }
    }
    if (tg_options_extra(&o, 0))
        return o.code;
    return serve(&dev);
}
