/*
 * test_why - a logged request explained: by the files that decided it, by others, and by a line that lacks something.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "boot/commands.h"
#include "boot/settings.h"
#include "capture.h"
#include <unistd.h>

static const char yaml[] =
    "identity_providers: {corp: {issuer: https://idp.test, audiences: [a], secret_file: secret,\n"
    "                            supported_algs: [HS256], groups_claim: teams}}\n"
    "policies:\n"
    "  - {name: staff, ppl: {allow: {and: [{domain: example.com}]}}, explanation: only staff}\n"
    "  - {name: strict, mode: shadow, ppl: {deny: {nor: [{claim/plan: pro}]}}}\n"
    "rate_limits: {tiers: [{name: gold, limit: 9, window: 1m, when: [{claim/tier: gold}]},\n"
    "              {name: authenticated, limit: 5, window: 1m}, {name: unauthenticated, limit: 3, window: 1m}]}\n"
    "routes:\n"
    "  - {name: api, prefix: /api, to: 'http://127.0.0.1:1', policies: [staff]}\n"
    "  - {name: teams, prefix: /teams, to: 'http://127.0.0.1:1', policy: {allow: {and: [{groups: red}]}}}\n"
    "  - {name: scoped, prefix: /scoped, to: 'http://127.0.0.1:1', policies: [staff], required_scopes: [read, write]}\n"
    "  - {name: tried, prefix: /tried, to: 'http://127.0.0.1:1', policies: [staff, strict]}\n"
    "  - {name: counted, prefix: /counted, to: 'http://127.0.0.1:1', policies: [staff], rate_limits: {tiers: [\n"
    "     {name: bought, key: claim/org, windows: [{limit: 5, window: 1s, limit_claim: quota, limit_ceiling: 50},\n"
    "       {limit: 100, window: 1m, mode: shadow}, {limit: 900, window: 1h, mode: shadow}]}]}}\n";

static struct {
    char dir[32], config[64], secret[64], log[64], policy_set[17];
    struct captured c;
} at;

static void write_file(const char *path, const char *text)
{
    assert_int_equal(tg_file_replace(path, tg_slice_str(text), 0600, NULL), TG_OK);
}

static int setup(void **state)
{
    struct tg_problems problems = {0};
    struct tg_settings settings;

    (void)state;
    snprintf(at.dir, sizeof at.dir, "/tmp/tollgate-test-XXXXXX");
    assert_non_null(mkdtemp(at.dir));
    snprintf(at.config, sizeof at.config, "%s/t.yaml", at.dir);
    snprintf(at.secret, sizeof at.secret, "%s/secret", at.dir);
    snprintf(at.log, sizeof at.log, "%s/access.log", at.dir);
    write_file(at.config, yaml);
    write_file(at.secret, "0123456789012345678901234567890123456789");
    if (!tg_settings_load(at.config, &settings, &problems))
        fail_msg("%s", problems.items[0].text);
    memcpy(at.policy_set, settings.config->policy_set, sizeof at.policy_set);
    assert_int_equal(strlen(at.policy_set), 16);
    tg_settings_fini(&settings);
    tg_problems_fini(&problems);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(at.config);
    unlink(at.secret);
    unlink(at.log);
    rmdir(at.dir);
    captured_fini(&at.c);
    return 0;
}

/* A line with the id, the path, the policy set of the files ("%S" in `rest`), and the rest. */
static void add_line(struct tg_buf *out, const char *id, const char *path, const char *rest)
{
    const char *set = strstr(rest, "%S");

    tg_buf_addf(out, "{\"ts\":\"2026-11-22T05:20:03.088Z\",\"request_id\":\"%s\",\"client_ip\":\"192.0.2.7\",\"m"
     "ethod\":"
                     "\"GET\",\"host\":\"a.test\",\"path\":\"%s\",\"proto\":\"HTTP/1.1\",", id, path);
    if (set)
        tg_buf_addf(out, "%.*s%s%s}\n", (int)(set - rest), rest, at.policy_set, set + 2);
    else
        tg_buf_addf(out, "%s}\n", rest);
}

#define WHO "\"route\":\"api\",\"provider\":\"corp\",\"issuer\":\"https://idp.test\",\"sub\":\"u1\","
#define SET ",\"policy_set\":\"%S\""
#define DENIED "\"status\":403,\"decision\":\"deny\",\"reasons\":[\"domain-unauthorized\"],\"policy\":\"staff\"," \
               "\"refused\":\"denied\",\"tier\":\"authenticated\",\"limit\":5,\"remaining\":4"
#define OTHERS ",\"facts\":{\"email\":\"a@b\",\"claims\":{\"plan\":null,\"tier\":null}}"
#define STAFF ",\"facts\":{\"email\":\"a@example.com\",\"claims\":{\"plan\":null,\"tier\":null}}"
#define ALLOWED "\"status\":200,\"decision\":\"allow\",\"reasons\":[\"domain-ok\"],\"tier\":\"authenticated\"," \
                "\"limit\":5,\"remaining\":4"
#define EARLY(status, decision, refused, more) \
    "\"status\":" status ",\"decision\":\"" decision "\",\"reasons\":[],\"refused\":\"" refused "\"" more SET

#define COUNTED(limit, key, window, more) \
    "\"status\":200,\"decision\":\"allow\",\"reasons\":[\"domain-ok\"],\"tier\":\"bought\",\"limit\":" limit \
    ",\"remaining\":3,\"limit_key\":\"" key "\",\"window\":\"" window "\",\"counter\":\"local\"" more
#define OUT(limit, key, window, counter) \
    "\"status\":429,\"decision\":\"limit\",\"reasons\":[],\"refused\":\"rate-limited\",\"tier\":\"bought\"," \
    "\"limit\":" limit ",\"remaining\":0,\"limit_key\":\"" key "\",\"window\":\"" window "\",\"counter\":\"" \
    counter "\""
#define BOUGHT ",\"facts\":{\"email\":\"a@example.com\",\"claims\":{\"org\":[\"acme\"],\"quota\":[20]}}"

static const struct {
    const char *why, *path, *rest;
    const char *out[4];                                  /* parts of what is told */
    const char *compared;                                /* of --json; NULL: null */
} cases[] = {
    {"denied", "/api", WHO DENIED SET OTHERS,
     {"the routes, policies and tiers that decided it", "no*  domain \"example.com\", saw b [domain-unauthorized]",
      "says      only staff",
      "status    403 Forbidden: nothing allows it: domain \"example.com\" does not hold for b\n"}, "equal"},
    {"allowed", "/api", WHO ALLOWED SET STAFF,
     {"user u1, email a@example.com, by the token of the request, provider corp", "yes* domain",
      "tier      authenticated: 5 requests in 1m; logged: authenticated, 4 of 5 left",
      "counts    subject u1 of https://idp.test"}, "equal"},
    {"by other files", "/api", WHO ALLOWED ",\"policy_set\":\"0000000000000000\"" OTHERS,
     {"not those that decided it: policy_set was 0000000000000000, is ", "now       the files decide otherwise: deny",
      "status    200 OK: logged because of domain-ok", ""}, "differs"},
    {"a line without its policy set", "/api", WHO DENIED OTHERS, {"perhaps not those that decided it", "", "", ""},
     "equal"},
    {"facts that were not logged", "/api", WHO DENIED SET,
     {"access_log.facts was off", "?    domain \"example.com\", saw (not logged)",
      "cannot be told: it hangs on what was not logged: domain",
      "status    403 Forbidden: logged because of domain-unauthorized"}, "unknown"},
    {"facts that were too large", "/teams", WHO "\"status\":403,\"decision\":\"deny\",\"reasons\":["
     "\"groups-unauthorized\"]" SET ",\"facts\":{\"claims\":{},\"omitted\":[\"claims.teams\"]}",
     {"missing   claims.teams: too large to be logged", "?    groups \"red\", saw (not logged)", "", ""}, "unknown"},
    {"the provider's groups", "/teams", WHO "\"status\":200,\"decision\":\"allow\",\"reasons\":[\"groups-ok\"]" SET
     ",\"facts\":{\"groups_claim\":\"teams\",\"claims\":{\"teams\":[\"red\"],\"tier\":null}}",
     {"yes* groups \"red\", saw [\"red\"]", "", "", ""}, "equal"},
    {"in shadow mode", "/tried", WHO ALLOWED ",\"shadow\":{\"decision\":\"deny\",\"reasons\":[\"claim-unauthorized\"],"
     "\"policy\":\"strict\"}" SET STAFF,
     {"shadow    policies that are not applied; if they were: deny, because of claim-unauthorized",
      "  no   policy strict\n", "no*  claim/plan \"pro\", saw (none)", "decision  allow"}, "equal"},
    {"otherwise in shadow mode", "/tried", WHO ALLOWED ",\"shadow\":{\"decision\":\"allow\",\"reasons\":[\"domain-ok\"]"
     "}" SET STAFF, {"", "", "", ""}, "differs"},
    {"another tier", "/api", WHO "\"status\":200,\"decision\":\"allow\",\"reasons\":[\"domain-ok\"],\"tier\":\"gold\","
     "\"limit\":9,\"remaining\":4" SET STAFF, {"", "", "", ""}, "differs"},
    {"a tier that is not known", "/api", WHO "\"status\":200,\"decision\":\"allow\",\"reasons\":[\"domain-ok\"],"
     "\"tier\":"
     "\"gold\",\"limit\":9,\"remaining\":4" SET ",\"facts\":{\"email\":\"a@example.com\"}",
     {"tier      (not logged what it hangs on); logged: gold, 4 of 9 left", "", "", ""}, "equal"},
    {"nobody", "/api", "\"route\":\"api\",\"status\":401,\"decision\":\"unauthenticated\",\"reasons\":["
     "\"user-unauthenticated\"],\"refused\":\"no-token\"" SET ",\"facts\":{}",
     {"identity  none: no token", "counts    address 192.0.2.7", "challenge Bearer realm=\"tollgate\"\n",
      "status    401 Unauthorized: the policy asks who is calling"}, "equal"},
    {"no such route any more", "/gone", WHO ALLOWED SET STAFF, {"they have no such route", "", "", ""}, NULL},
    {"the upstream failed", "/api", WHO "\"status\":502,\"decision\":\"allow\",\"reasons\":[\"domain-ok\"],\"refused\":"
     "\"upstream-failed\",\"error\":\"refused\"" SET STAFF,
     {"error refused", "decision  allow", "answer    the upstream did not answer properly",
      "status    502 Bad Gateway: the policy admits the request, but the service"}, "equal"},
    {"the upstream of a route that is gone failed", "/gone", WHO "\"status\":502,\"decision\":\"allow\",\"reasons\":["
     "\"domain-ok\"],\"refused\":\"upstream-failed\",\"error\":\"refused\"" SET STAFF,
     {"they have no such route", "status    502 Bad Gateway: the policy admits the request, but the service", "", ""},
     NULL},
    {"expired", "/api", "\"route\":\"api\"," EARLY("401", "unauthenticated", "token-expired",
                                                   ",\"token_refused\":\"expired\""),
     {"identity  none: the token is refused: expired", "it had expired\n", "answer    token expired",
      "error_description=\"The access token expired\""}, NULL},
    {"another audience", "/api", "\"route\":\"api\"," EARLY("401", "unauthenticated", "token-invalid",
                                                            ",\"token_refused\":\"audience\""),
     {"it was made for another audience", "decision  none: no policy is asked", "", ""}, NULL},
    {"counted out", "/api", WHO EARLY("429", "limit", "rate-limited",
                                      ",\"tier\":\"authenticated\",\"limit\":5,\"remaining\":0"),
     {"status    429 Too Many Requests: all 5 requests of tier authenticated were used up; no policy", "do     "
      "   the client waits as long as Retry-After says", "", ""}, NULL},
    {"no route", "/none", EARLY("404", "none", "no-route", ""),
     {"status    404 Not Found: no route matches this host and path", "", "", ""}, NULL},
    {"no keys", "/api", "\"route\":\"api\"," EARLY("503", "none", "no-keys", ""), {"tollgate check --online", "",
     "", ""},
     NULL},
    {"a word of a later version", "/api", EARLY("418", "none", "teapot", ""),
     {"it was refused as teapot, which this version of tollgate does not know", "", "", ""}, NULL},
    {"the client went away", "/api", "\"route\":\"api\",\"status\":0,\"decision\":\"none\",\"reasons\":[],\"error\":"
     "\"client-gone\"" SET, {"status    none: the client went away before anything was decided", "", "", ""}, NULL},
    {"a scope was lacking", "/scoped", WHO EARLY("403", "none", "scope",
                                                 ",\"facts\":{\"claims\":{\"scope\":[\"read x\"],\"scp\":null}}"),
     {"scopes    read write are required: the token lacks write\n", "decision  none: no policy is asked",
      "error=\"insufficient_scope\", error_description=\"The access token lacks a scope\", scope=\"read write\"\n",
      "status    403 Forbidden: the token was not granted the scope write, which the route or its provider requires"},
     NULL},
    {"a scope that was not lacking", "/scoped", WHO EARLY("403", "none", "scope",
                                                 ",\"facts\":{\"claims\":{\"scope\":[\"read write\"],\"scp\":null}}"),
     {"read write are required and granted", "the token was not granted every scope that the route", "", ""}, NULL},
    {"a scope of a line without facts", "/scoped", WHO EARLY("403", "none", "scope", ""),
     {"are required; what the token was granted was not logged", "the token was not granted every scope", "", ""},
     NULL},
    {"nobody, where a scope is asked for", "/scoped", "\"route\":\"scoped\"," EARLY("401", "none", "no-token",
                                                                                 ",\"facts\":{}"),
     {"401 Unauthorized: the route requires the scope read write, and there is no token; no policy was asked", "", "",
      ""}, NULL},
    {"scopes in scp", "/scoped", WHO ALLOWED SET ",\"facts\":{\"email\":\"a@example.com\",\"claims\":{\"tier\":null,"
     "\"scope\":null,\"scp\":[\"write\",\"read\"]}}", {"read write are required and granted", "", "", ""}, "equal"},
    {"a scope that is required now", "/scoped", WHO ALLOWED SET ",\"facts\":{\"email\":\"a@example.com\",\"claims\":{"
     "\"tier\":null,\"scope\":[\"read\"],\"scp\":null}}", {"the token lacks write", "", "", ""}, "differs"},
    {"scopes that were not logged", "/scoped", WHO ALLOWED SET STAFF,
     {"what the token was granted was not logged", "", "", ""}, "unknown"},
    {"its provider may not be asked", "/api", "\"route\":\"api\"," EARLY("503", "none", "no-answer",
                                                                       ",\"token_refused\":\"budget\""),
     {"identity  none: nobody could say what the token is: its provider was not asked about it",
      "status    503 Service Unavailable: nobody could say whether the token is good: its provider was not asked", "",
      ""}, NULL},
    {"its provider may not be asked by this address", "/api", "\"route\":\"api\","
     EARLY("429", "limit", "rate-limited",
     ",\"token_refused\":\"address\",\"tier\":\"unauthenticated\",\"limit\":3,\"remaining\":0"),
     {"identity  none: nobody could say what the token is: only its provider knows it",
      "all 3 requests of tier unauthenticated in 1m were used up", "", ""}, NULL},
    {"a proof used twice", "/api", "\"route\":\"api\"," EARLY("401", "unauthenticated", "proof-invalid",
                                                           ",\"token_refused\":\"proof-replayed\""),
     {"the DPoP proof beside it was used before",
      "challenge DPoP realm=\"tollgate\", error=\"invalid_dpop_proof\"", "", ""}, NULL},
    {"bound to a key", "/api", WHO ALLOWED SET ",\"bound\":\"dpop\"" STAFF,
     {"bound     to a DPoP key, whose proof was checked\n", "", "", ""}, "equal"},
    {"published for everybody", "/.well-known/pomerium/jwks.json",
     "\"status\":200,\"decision\":\"none\",\"reasons\":[]" SET,
     {"status    200 OK: tollgate answered it itself", "", "", ""}, NULL},
    {"what a stranger wrote stays on its line", "/api", WHO DENIED SET ",\"facts\":{\"email\":\"a@\\u001b[2J\\ns"
     "tatus\"}",
     {"saw \\x1b[2J\\x0astatus", "", "", ""}, "equal"},
    /* Limits of the route's own. */
    {"several limits, and a claim's", "/counted", WHO COUNTED("20", "claim", "bought-1s", ",\"shadow_limited\":["
     "\"bought-1m\",\"bought-1h\"]") SET BOUGHT,
     {"tier      bought (of this route): 3 limits at once; logged: bought, 3 of 20 left of bought-1s\n"
      "limit     20 requests in 1s, as claim quota says\nlimit     100 requests in 1m, counted and not enforced\n",
      "counts    claim org \"acme\" of https://idp.test; in memory; logged: in memory, as the store was away\n",
      "shadow    limits that are not enforced were used up: bought-1m, bought-1h; enforced, they would have", ""},
     "equal"},
    {"another limit than the claim's", "/counted", WHO COUNTED("21", "claim", "bought-1s", "") SET BOUGHT,
     {"", "", "", ""}, "differs"},
    {"by another key", "/counted", WHO COUNTED("20", "subject", "bought-1s", "") SET BOUGHT, {"", "", "", ""},
     "differs"},
    {"of a window that there is not", "/counted", WHO COUNTED("20", "claim", "bought-5s", "") SET BOUGHT,
     {"", "", "", ""}, "differs"},
    {"claims that were not logged", "/counted", WHO COUNTED("20", "claim", "bought-1s", "") SET
     ",\"facts\":{\"email\":\"a@example.com\"}",
     {"limit     5 requests in 1s, or what claim quota said, at most 50: it was not logged\n",
      "counts    claim org, which was not logged", "", ""}, "equal"},
    {"counted out by a claim", "/counted", WHO OUT("20", "claim", "bought-1s", "redis") SET BOUGHT,
     {"status    429 Too Many Requests: all 20 requests of tier bought in 1s were used up by callers with the same "
      "claim; no policy was asked\n", "a tier (when); all callers with that claim share it\n", "", ""}, NULL},
    {"by this process alone", "/counted", WHO OUT("20", "claim", "bought-1s", "local") SET BOUGHT,
     {"with the same claim, counted by this process alone, as the store was away; no policy", "", "", ""}, NULL},
    {"counted out by an address", "/api", "\"route\":\"api\"," EARLY("429", "limit", "rate-limited",
     ",\"tier\":\"unauthenticated\",\"limit\":3,\"remaining\":0,\"limit_key\":\"address\",\"counter\":\"memory\""),
     {"all 3 requests of tier unauthenticated in 1m were used up by this address; no policy", "a proxy that is not in",
      "", ""}, NULL},
    {"a claim admits nobody", "/counted", WHO OUT("0", "subject", "bought-1s", "memory") SET
     ",\"facts\":{\"email\":\"a@example.com\",\"claims\":{\"org\":null,\"quota\":[0]}}",
     {"a claim of the token admits no request of tier bought in 1s; no policy was asked\n",
      "do        a token without the claim quota has the tier's own limit of 5\n", "", ""}, NULL},
    {"counted out by a limit that there is not", "/counted", WHO OUT("19", "claim", "bought-1s", "memory") SET BOUGHT,
     {"all 19 requests of tier bought in the window bought-1s were used up", "", "", ""}, NULL},
    {"nobody could count", "/counted", WHO EARLY("503", "none", "no-counter", ",\"tier\":\"bought\",\"limit\":0,"
     "\"remaining\":0,\"limit_key\":\"claim\",\"window\":\"bought-1s\",\"counter\":\"redis\"" BOUGHT),
     {"; logged: bought, not counted\n", "answer    the rate limit cannot be counted now\n",
      "status    503 Service Unavailable: the store of the rate limits (rate_limits.store) did not answer",
      "do        the files name no store now"}, NULL},
};

static void why(const char *id, const char *file, bool json, const char *input)
{
    const char *argv[8] = {"why", "-c", at.config, id, file};

    argv[5] = json ? "--json" : NULL;
    capture(&at.c, tg_cmd_why, argv, tg_slice_str(input));
}

static void told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf lines = {0};
        const cJSON *compared;
        cJSON *root = NULL;
        struct tg_err err;

        add_line(&lines, "other", "/api", WHO ALLOWED SET);
        tg_buf_adds(&lines, "{\"time\":\"x\",\"message\":\"request r-1 of a log of another kind\"}\n");
        tg_buf_adds(&lines, "2026-11-22T05:20:03Z pod/tollgate ");
        add_line(&lines, "r-1", cases[i].path, cases[i].rest);
        why("r-1", "-", false, tg_buf_cstr(&lines));
        for (size_t k = 0; k < 4; k++) {
            const char *part = cases[i].out[k] ? cases[i].out[k] : "";

            if (at.c.code != 0 || !strstr(at.c.out, part) || strchr(at.c.out, '\033'))
                fail_msg("%s: %d: %s\n%s%s", cases[i].why, at.c.code, part, at.c.out, at.c.err);
        }
        why("r-1", "-", true, tg_buf_cstr(&lines));
        if (tg_json_parse(tg_slice_str(at.c.out), NULL, &root, &err) != TG_OK)
            fail_msg("%s: %s\n%s", cases[i].why, err.text, at.c.out);
        compared = tg_json_get(root, "compared");
        if (cases[i].compared ? !compared || !cJSON_IsString(compared) ||
                                    strcmp(compared->valuestring, cases[i].compared) != 0 : !cJSON_IsNull(compared))
            fail_msg("%s: %s", cases[i].why, at.c.out);
        cJSON_Delete(root);
        tg_buf_fini(&lines);
    }
}

static void all(void **state)
{
    static const char *const argv[] = {"why", "--all", at.log, "-c", at.config, NULL};
    static const char *const json[] = {"why", "--all", at.log, "-c", at.config, "--json", NULL};
    struct tg_buf lines = {0};
    cJSON *root = NULL;
    int64_t n;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        add_line(&lines, "x", cases[i].path, cases[i].rest);
    tg_buf_adds(&lines, "no line\n");
    write_file(at.log, tg_buf_cstr(&lines));
    capture(&at.c, tg_cmd_why, json, TG_S(""));
    assert_int_equal(at.c.code, 1);
    assert_int_equal(tg_json_parse(tg_slice_str(at.c.out), &(struct tg_json_limits){.bytes = 1 << 22}, &root, NULL),
                     TG_OK);
    static const struct {
        const char *name;
        int64_t want;
    } sums[] = {{"lines", 47}, {"judged", 25}, {"equal", 13}, {"differ", 10}, {"differ_since", 1}, {"unknown", 3},
                {"early", 21}, {"unexplained", 1}, {"foreign", 1}};

    for (size_t i = 0; i < ARRAY_LEN(sums); i++) {
        if (!tg_json_int(tg_json_get(root, sums[i].name), &n) || n != sums[i].want)
            fail_msg("%s: %lld, want %lld", sums[i].name, (long long)n, (long long)sums[i].want);
    }
    assert_int_equal(cJSON_GetArraySize(tg_json_get(root, "examples")), 5);
    assert_true(tg_json_int(tg_json_get(tg_json_get(root, "lacking"), "domain"), &n) && n == 1);
    cJSON_Delete(root);
    capture(&at.c, tg_cmd_why, argv, TG_S(""));
    assert_int_equal(at.c.code, 1);
    assert_non_null(strstr(at.c.out, "25  decided by policies\n"));
    assert_non_null(strstr(at.c.out, "3  it hangs on what was not logged: domain 1, groups 1, required_scopes 1\n"));
    /* Without those that differ under their own policies there is nothing to complain of. */
    lines.len = 0;
    add_line(&lines, "x", cases[0].path, cases[0].rest);
    add_line(&lines, "x", cases[2].path, cases[2].rest);
    write_file(at.log, tg_buf_cstr(&lines));
    capture(&at.c, tg_cmd_why, argv, TG_S(""));
    assert_int_equal(at.c.code, 0);
    tg_buf_fini(&lines);
}

/* What is wrong with the question, and what to do. */
static void complaints(void **state)
{
    static const struct {
        const char *why;
        const char *argv[6];
        int code;
        const char *err;
    } table[] = {
        {"no id", {"why"}, 2, "the X-Request-Id of the answer"},
        {"an empty id", {"why", "", at.log, "-c", at.config}, 2, "the id is empty"},
        {"no log", {"why", "r-1", "-c", at.config}, 2, "journalctl -o cat -u tollgate | tollgate why r-1 -"},
        {"two logs", {"why", "r-1", "a", "b", "-c", at.config}, 2, "cat FILES"},
        {"no such file", {"why", "r-1", "/nowhere/log", "-c", at.config}, 1, "/nowhere/log: No such file"},
        {"no such id", {"why", "r-2", at.log, "-c", at.config}, 1, "has the id r-2; look into"},
        {"no such log", {"why", "r-2", "-", "-c", at.config}, 1, "no line of tollgate's access log in standard input"},
        {"nothing to compare", {"why", "--all", "-", "-c", at.config}, 1, "no line of tollgate's access log"},
        {"no configuration", {"why", "r-1", at.log, "-c", "/nowhere/t.yaml"}, 78, "run why where tollgate runs"},
    };
    struct tg_buf lines = {0};

    (void)state;
    add_line(&lines, "r-1", "/api", WHO ALLOWED SET STAFF);
    write_file(at.log, tg_buf_cstr(&lines));
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *argv[7] = {0};

        memcpy(argv, table[i].argv, sizeof table[i].argv);
        capture(&at.c, tg_cmd_why, argv, TG_S(""));
        if (at.c.code != table[i].code || !strstr(at.c.err, table[i].err))
            fail_msg("%s: %d: %s", table[i].why, at.c.code, at.c.err);
    }
    tg_buf_fini(&lines);
}

/* The log that the configuration names needs no argument; all lines of an id are shown. */
static void log_of_the_configuration(void **state)
{
    const char *argv[] = {"why", "r-1", "-c", at.config, NULL};
    struct tg_buf text = {0}, lines = {0};
    const char *first;

    (void)state;
    tg_buf_addf(&text, "access_log: {output: %s}\n%s", at.log, yaml);
    write_file(at.config, tg_buf_cstr(&text));
    add_line(&lines, "r-1", "/api", WHO ALLOWED SET STAFF);
    add_line(&lines, "r-1", "/api", WHO DENIED SET OTHERS);
    write_file(at.log, tg_buf_cstr(&lines));
    capture(&at.c, tg_cmd_why, argv, TG_S(""));
    assert_int_equal(at.c.code, 0);
    first = strstr(at.c.out, "status    200 OK");
    assert_true(first && strstr(first, "\n\nid        r-1, ") && strstr(first, "status    403 Forbidden"));
    write_file(at.config, yaml);
    tg_buf_fini(&text);
    tg_buf_fini(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told),
        cmocka_unit_test(all),
        cmocka_unit_test(complaints),
        cmocka_unit_test(log_of_the_configuration),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
