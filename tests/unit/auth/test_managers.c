/*
 * managers - who may use the management API: tokens and what is kept of them, ID tokens, operators, the forms of a
 * credential, and that what is withdrawn is refused at the very next call.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/auth/managers_internal.h"
#include "../../../proxy/auth/token_format.h"
#include "auth/pat.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/tree.h"
#include <stdio.h>
#include <unistd.h>

#define NOW_S INT64_C(1800000000)
#define NOW_MS (NOW_S * 1000)
#define URL "https://api.example.com:9443"
#define HOUR_S 3600

static char folder[] = "/tmp/tg-managers-XXXXXX";
static struct tg_db *db;
static struct tg_managers *managers;
static struct tg_signer *alice, *bob, *stranger;         /* ES256, EdDSA, nobody's */
static struct tg_operators operators;
static struct tg_operator both[2];

static const char *in_folder(const char *name)
{
    static char path[4][80];
    static unsigned turn;
    char *here = path[turn++ % 4];

    snprintf(here, sizeof path[0], "%s/%s", folder, name);
    return here;
}

static struct tg_jwks *public_half(const struct tg_signer *signer)
{
    struct tg_jwks *keys = NULL;
    struct tg_buf pem = {0};

    assert_int_equal(tg_signer_pem(signer, &pem, NULL), TG_OK);
    assert_int_equal(tg_jwks_from_pem(tg_buf_slice(&pem), &keys, NULL), TG_OK);
    tg_buf_wipe(&pem);
    return keys;
}

static int set_up(void **state)
{
    (void)state;
    tg_log_set_level(TG_LOG_OFF);
    if (!mkdtemp(folder) || tg_signer_generate(TG_ALG_ES256, &alice, NULL) != TG_OK ||
        tg_signer_generate(TG_ALG_EdDSA, &bob, NULL) != TG_OK ||
        tg_signer_generate(TG_ALG_ES256, &stranger, NULL) != TG_OK)
        return -1;
    both[0] = (struct tg_operator){.id = TG_S_INIT("alice"), .role = TG_ROLE_OWNER, .keys = public_half(alice)};
    both[1] = (struct tg_operator){.id = TG_S_INIT("bob"), .role = TG_ROLE_AUDITOR, .keys = public_half(bob)};
    operators = (struct tg_operators){both, 2};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tg_operators_fini(&operators);
    tg_signer_free(alice);
    tg_signer_free(bob);
    tg_signer_free(stranger);
    return rmdir(folder);
}

static void remove_files(void)
{
    static const char *const names[] = {"tollgate.db", "tollgate.db-wal", "tollgate.db-shm", "management-key.pem",
                                        "operator.pem", "aside.db"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlink(in_folder(names[i]));
}

static struct tg_managers_settings settings_of(void)
{
    return (struct tg_managers_settings){
        .state_dir = folder, .url = TG_S_INIT(URL), .operators = &operators, .id_token_ms = HOUR_S * 1000,
        .accept_bare_token = true,
    };
}

static void open_managers(void)
{
    struct tg_managers_settings settings = settings_of();
    struct tg_err err = {0};

    if (tg_managers_open(db, &settings, &managers, &err) != TG_OK)
        fail_msg("%s", err.text);
}

static int open_all(void **state)
{
    (void)state;
    remove_files();
    assert_int_equal(tg_db_open(in_folder("tollgate.db"), &db, NULL), TG_OK);
    open_managers();
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    tg_managers_free(managers);
    tg_db_close(db);
    managers = NULL;
    db = NULL;
    remove_files();
    return 0;
}

/* ---- users ---- */

struct made {
    char id[37];
    char token[TG_PAT_LEN + 1];
};

static enum tg_status create(const char *name, enum tg_role role, int64_t expires_s, struct made *out,
                             struct tg_err *err)
{
    struct tg_api_user_order order = {tg_slice_str(name), role, NOW_S, expires_s};
    struct tg_buf token = {0};
    enum tg_status st = tg_db_begin(db, err);

    assert_int_equal(st, TG_OK);
    st = tg_api_user_create(db, &order, &token, out->id, err);
    if (st == TG_OK) {
        assert_int_equal(token.len, TG_PAT_LEN);
        memcpy(out->token, tg_buf_cstr(&token), sizeof out->token);
        assert_int_equal(tg_db_commit(db, err), TG_OK);
    } else {
        tg_db_rollback(db);
    }
    tg_buf_wipe(&token);
    return st;
}

static struct made made_of(const char *name, enum tg_role role, int64_t expires_s)
{
    struct made made = {0};
    struct tg_err err = {0};

    if (create(name, role, expires_s, &made, &err) != TG_OK)
        fail_msg("%s", err.text);
    return made;
}

static void delete_it(const char *id)
{
    assert_int_equal(tg_api_user_delete(db, tg_slice_str(id), NULL), TG_OK);
}

/* ---- calls ---- */

static struct tg_manager who;
static struct tg_err said;

static enum tg_manager_fault ask(const char *field, int64_t now_s)
{
    struct tg_slice value = tg_slice_str(field);

    who = (struct tg_manager){0};
    said = (struct tg_err){0};
    return tg_managers_check(managers, &value, 1, now_s * 1000, &who, &said);
}

static enum tg_manager_fault ask_with(const char *scheme, const char *token, int64_t now_s)
{
    char field[4096];

    assert_true(snprintf(field, sizeof field, "%s%s", scheme, token) < (int)sizeof field);
    return ask(field, now_s);
}

struct id_token {
    char text[2048];
    int64_t life_s;
    struct tg_manager who;
};

static enum tg_status exchange(const char *token, int64_t now_s, struct id_token *out)
{
    struct tg_buf text = {0};
    enum tg_status st = tg_managers_exchange(managers, tg_slice_str(token), now_s * 1000, &text, &out->life_s,
                                             &out->who, &said);

    if (st == TG_OK)
        snprintf(out->text, sizeof out->text, "%s", tg_buf_cstr(&text));
    else
        assert_int_equal(text.len, 0);
    tg_buf_wipe(&text);
    return st;
}

static struct id_token id_token_of(const char *token)
{
    struct id_token out = {0};

    if (exchange(token, NOW_S, &out) != TG_OK)
        fail_msg("%s", said.text);
    return out;
}

static void expect_fault(enum tg_manager_fault got, enum tg_manager_fault want, const char *why)
{
    if (got != want)
        fail_msg("%s: %d, not %d: %s", why, got, want, said.text);
    if (got != TG_MANAGER_OK)
        assert_true(said.text[0]);
}

/* ---- the form of a token ---- */

static void token_form(void **state)
{
    struct tg_buf api = {0}, pat = {0};

    (void)state;
    tg_api_token_make(&api);
    tg_pat_make(&pat);
    assert_true(tg_slice_starts_with(tg_buf_slice(&api), TG_S("tga_")));
    assert_true(tg_api_token_is_wellformed(tg_buf_slice(&api)));
    assert_false(tg_pat_is_wellformed(tg_buf_slice(&api)));
    assert_false(tg_api_token_is_wellformed(tg_buf_slice(&pat)));
    for (size_t i = 0; i < api.len; i++) {
        char was = api.data[i];

        api.data[i] = was == 'A' ? 'B' : 'A';
        assert_false(tg_api_token_is_wellformed(tg_buf_slice(&api)));
        assert_false(tg_api_token_is_wellformed(tg_slice(api.data, i)));
        api.data[i] = was;
    }
    /* The same secret under the other prefix: its checksum is of both. */
    memcpy(pat.data + 4, api.data + 4, api.len - 4);
    assert_false(tg_pat_is_wellformed(tg_buf_slice(&pat)));
    tg_buf_fini(&api);
    tg_buf_fini(&pat);
}

static void roles(void **state)
{
    enum tg_role role;

    (void)state;
    for (int i = TG_ROLE_AUDITOR; i <= TG_ROLE_OWNER; i++) {
        assert_true(tg_role_parse(tg_slice_str(tg_role_name((enum tg_role)i)), &role));
        assert_int_equal(role, i);
    }
    assert_true(tg_role_parse(TG_S("viewer"), &role));
    assert_int_equal(role, TG_ROLE_AUDITOR);
    assert_false(tg_role_parse(TG_S("Owner"), &role));
    assert_false(tg_role_parse(TG_S(""), &role));
    assert_false(tg_role_parse(TG_S("owner "), &role));
}

/* ---- the table ---- */

static void count_user(void *arg, const struct tg_api_user *user)
{
    char *names = arg;

    assert_int_equal(user->prefix.len, TG_TOKEN_SHOWN);
    snprintf(names + strlen(names), 200 - strlen(names), TG_S_FMT ":%s:%lld ", TG_S_ARG(user->name),
             tg_role_name(user->role), (long long)user->used_s);
}

static void users(void **state)
{
    struct made one = made_of("one", TG_ROLE_OWNER, INT64_MAX), two = made_of("two", TG_ROLE_MEMBER, NOW_S + 10), same;
    char names[200] = "";
    uint64_t total = 0;

    (void)state;
    assert_int_equal(create("one", TG_ROLE_OWNER, INT64_MAX, &same, &said), TG_LIMIT);
    assert_non_null(strstr(said.text, one.id));
    assert_int_equal(create("past", TG_ROLE_OWNER, NOW_S, &same, &said), TG_BAD_INPUT);
    assert_int_equal(create("", TG_ROLE_OWNER, INT64_MAX, &same, &said), TG_BAD_INPUT);
    assert_int_equal(create("tab\t", TG_ROLE_OWNER, INT64_MAX, &same, &said), TG_BAD_INPUT);
    assert_int_equal(create("\xff", TG_ROLE_OWNER, INT64_MAX, &same, &said), TG_BAD_INPUT);
    assert_int_equal(tg_api_user_list(db, (struct tg_slice){0}, 0, 0, count_user, names, &total, NULL), TG_OK);
    assert_string_equal(names, "one:owner:-1 two:member:-1 ");
    assert_int_equal(total, 2);
    names[0] = '\0';
    assert_int_equal(tg_api_user_list(db, (struct tg_slice){0}, 1, 1, count_user, names, &total, NULL), TG_OK);
    assert_string_equal(names, "two:member:-1 ");
    assert_int_equal(total, 2);
    names[0] = '\0';
    assert_int_equal(tg_api_user_list(db, tg_slice_str(two.id), 0, 0, count_user, names, NULL, NULL), TG_OK);
    assert_string_equal(names, "two:member:-1 ");
    assert_int_equal(tg_api_user_list(db, TG_S("none"), 0, 0, count_user, names, NULL, &said), TG_NOT_FOUND);
    assert_int_equal(tg_api_user_delete(db, TG_S("none"), &said), TG_NOT_FOUND);
    delete_it(one.id);
    assert_int_equal(tg_api_user_delete(db, tg_slice_str(one.id), &said), TG_NOT_FOUND);
    assert_int_equal(create("one", TG_ROLE_OWNER, INT64_MAX, &same, &said), TG_OK);
    assert_string_not_equal(same.id, one.id);
}

/* A name is free again when its token has expired. */
static void expired_name(void **state)
{
    struct tg_api_user_order order = {TG_S_INIT("ci"), TG_ROLE_ADMIN, NOW_S, NOW_S + 10};
    struct tg_buf token = {0};
    char id[37];

    (void)state;
    assert_int_equal(tg_api_user_create(db, &order, &token, id, NULL), TG_OK);
    order.now_s = NOW_S + 10;
    order.expires_s = INT64_MAX;
    assert_int_equal(tg_api_user_create(db, &order, &token, id, &said), TG_OK);
    assert_int_equal(tg_api_user_create(db, &order, &token, id, &said), TG_LIMIT);
    tg_buf_wipe(&token);
}

static bool file_holds(const char *name, struct tg_slice what)
{
    struct tg_buf text = {0};
    bool found = tg_file_read(in_folder(name), 64 << 20, &text, NULL) == TG_OK &&
                 tg_slice_contains(tg_buf_slice(&text), what);

    tg_buf_fini(&text);
    return found;
}

static void nothing_secret_is_kept(void **state)
{
    struct made user = made_of("secret", TG_ROLE_OWNER, INT64_MAX);
    struct id_token id = id_token_of(user.token);
    const char *secret = user.token + TG_TOKEN_SHOWN, *signature = strrchr(id.text, '.') + 1;

    (void)state;
    assert_int_equal(ask_with("Bearer ", user.token, NOW_S), TG_MANAGER_OK);
    assert_int_equal(ask_with("Bearer ", id.text, NOW_S), TG_MANAGER_OK);
    assert_int_equal(tg_managers_logout(managers, &who, NOW_MS, NULL), TG_OK);
    assert_true(file_holds("tollgate.db-wal", tg_slice_str(user.id))); /* what is looked into is the right file */
    assert_false(file_holds("tollgate.db-wal", tg_slice_str(secret)));
    assert_false(file_holds("tollgate.db-wal", tg_slice_str(signature)));
    tg_managers_free(managers);
    tg_db_close(db);
    assert_true(file_holds("tollgate.db", tg_slice_str(user.id)));
    assert_false(file_holds("tollgate.db", tg_slice_str(secret)));
    assert_false(file_holds("tollgate.db", tg_slice_str(signature)));
    assert_int_equal(tg_db_open(in_folder("tollgate.db"), &db, NULL), TG_OK);
    open_managers();
    assert_int_equal(ask_with("Bearer ", user.token, NOW_S), TG_MANAGER_OK);
    assert_int_equal(ask_with("Bearer ", id.text, NOW_S), TG_MANAGER_INVALID); /* the logout is kept */
}

/* ---- tokens and ID tokens ---- */

static void api_token(void **state)
{
    struct made user = made_of("ci", TG_ROLE_ADMIN, NOW_S + 100), other = made_of("other", TG_ROLE_OWNER, INT64_MAX);
    char wrong[TG_PAT_LEN + 1], sql[120];
    struct tg_buf fresh = {0};

    (void)state;
    expect_fault(ask_with("Bearer ", user.token, NOW_S), TG_MANAGER_OK, "a token");
    assert_int_equal(who.how, TG_MANAGER_TOKEN);
    assert_int_equal(who.role, TG_ROLE_ADMIN);
    assert_string_equal(who.id, user.id);
    assert_string_equal(who.name, "ci");
    assert_string_equal(who.jti, "");
    assert_int_equal(who.exp_s, NOW_S + 100);
    assert_false(who.bare);
    expect_fault(ask_with("Bearer ", user.token, NOW_S + 99), TG_MANAGER_OK, "the last second");
    expect_fault(ask_with("Bearer ", user.token, NOW_S + 100), TG_MANAGER_EXPIRED, "its end");
    tg_api_token_make(&fresh);
    expect_fault(ask_with("Bearer ", tg_buf_cstr(&fresh), NOW_S), TG_MANAGER_INVALID, "well formed, of nobody");
    snprintf(sql, sizeof sql, "UPDATE api_users SET prefix = '" TG_S_FMT "' WHERE name = 'ci'",
             TG_S_ARG(tg_api_token_prefix(tg_buf_slice(&fresh))));
    assert_int_equal(tg_db_run(db, sql, NULL), TG_OK);
    expect_fault(ask_with("Bearer ", tg_buf_cstr(&fresh), NOW_S), TG_MANAGER_INVALID, "the shown characters alone");
    tg_buf_fini(&fresh);
    memcpy(wrong, user.token, sizeof wrong);             /* the shown characters are right, the rest is another's */
    memcpy(wrong + TG_TOKEN_SHOWN, other.token + TG_TOKEN_SHOWN, sizeof wrong - TG_TOKEN_SHOWN);
    expect_fault(ask_with("Bearer ", wrong, NOW_S), TG_MANAGER_INVALID, "put together");
    for (int i = 0; i < 50; i++)
        expect_fault(ask_with("Bearer ", other.token, NOW_S), TG_MANAGER_OK, "before it is deleted");
    delete_it(other.id);
    expect_fault(ask_with("Bearer ", other.token, NOW_S), TG_MANAGER_INVALID, "deleted");
}

static void id_tokens(void **state)
{
    struct made user = made_of("ci", TG_ROLE_MEMBER, INT64_MAX), other = made_of("two", TG_ROLE_OWNER, INT64_MAX);
    struct id_token one = id_token_of(user.token), two = id_token_of(user.token), third = id_token_of(other.token);

    (void)state;
    assert_int_equal(one.life_s, HOUR_S);
    assert_string_equal(one.who.id, user.id);
    assert_string_not_equal(one.who.jti, two.who.jti);
    expect_fault(ask_with("Bearer ", one.text, NOW_S), TG_MANAGER_OK, "an ID token");
    assert_int_equal(who.how, TG_MANAGER_ID_TOKEN);
    assert_int_equal(who.role, TG_ROLE_MEMBER);
    assert_string_equal(who.id, user.id);
    assert_string_equal(who.name, "ci");
    assert_string_equal(who.jti, one.who.jti);
    assert_int_equal(who.exp_s, NOW_S + HOUR_S);
    expect_fault(ask_with("Bearer ", one.text, NOW_S + HOUR_S - 1), TG_MANAGER_OK, "the last second");
    expect_fault(ask_with("Bearer ", one.text, NOW_S + HOUR_S), TG_MANAGER_EXPIRED, "its end");

    expect_fault(ask_with("Bearer ", one.text, NOW_S), TG_MANAGER_OK, "again");
    assert_int_equal(tg_managers_logout(managers, &who, NOW_MS, NULL), TG_OK);
    expect_fault(ask_with("Bearer ", one.text, NOW_S), TG_MANAGER_INVALID, "logged out");
    expect_fault(ask_with("Bearer ", two.text, NOW_S), TG_MANAGER_OK, "the other one of the same user");
    delete_it(user.id);
    expect_fault(ask_with("Bearer ", two.text, NOW_S), TG_MANAGER_INVALID, "its user was deleted");
    expect_fault(ask_with("Bearer ", two.text, NOW_S + HOUR_S), TG_MANAGER_INVALID, "expired too: not told");
    expect_fault(ask_with("Bearer ", third.text, NOW_S), TG_MANAGER_OK, "another user's");
    assert_int_equal(exchange(user.token, NOW_S, &one), TG_DENIED);
}

static void logout_of_a_token(void **state)
{
    struct made user = made_of("ci", TG_ROLE_MEMBER, INT64_MAX);

    (void)state;
    assert_int_equal(ask_with("Bearer ", user.token, NOW_S), TG_MANAGER_OK);
    assert_int_equal(tg_managers_logout(managers, &who, NOW_MS, &said), TG_UNSUPPORTED);
    assert_int_equal(ask_with("Bearer ", user.token, NOW_S), TG_MANAGER_OK);
}

/* What a user is counts at each call, not what he was when the ID token was made. */
static void role_is_the_rows(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, INT64_MAX);
    struct id_token id = id_token_of(user.token);

    (void)state;
    assert_int_equal(tg_db_run(db, "UPDATE api_users SET role = 'auditor'", NULL), TG_OK);
    expect_fault(ask_with("Bearer ", id.text, NOW_S), TG_MANAGER_OK, "lowered");
    assert_int_equal(who.role, TG_ROLE_AUDITOR);
    assert_int_equal(tg_db_run(db, "UPDATE api_users SET role = 'emperor'", NULL), TG_OK);
    expect_fault(ask_with("Bearer ", id.text, NOW_S), TG_MANAGER_INVALID, "a role that nobody knows");
    expect_fault(ask_with("Bearer ", user.token, NOW_S), TG_MANAGER_INVALID, "likewise");
}

static void id_token_ends_with_its_user(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, NOW_S + 60);
    struct id_token id = id_token_of(user.token);

    (void)state;
    assert_int_equal(id.life_s, 60);
    expect_fault(ask_with("Bearer ", id.text, NOW_S + 59), TG_MANAGER_OK, "before");
    expect_fault(ask_with("Bearer ", id.text, NOW_S + 60), TG_MANAGER_EXPIRED, "then");
    assert_int_equal(exchange(user.token, NOW_S + 60, &id), TG_DENIED);
    assert_int_equal(exchange("nope", NOW_S, &id), TG_DENIED);
    assert_int_equal(exchange("", NOW_S, &id), TG_DENIED);
}

/* The end of a user that was brought forward holds for the ID tokens that are out. */
static void earlier_end(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, NOW_S + 2 * HOUR_S);
    struct id_token id = id_token_of(user.token);
    char sql[80];

    (void)state;
    snprintf(sql, sizeof sql, "UPDATE api_users SET expires_s = %lld", (long long)NOW_S + 5);
    assert_int_equal(tg_db_run(db, sql, NULL), TG_OK);
    expect_fault(ask_with("Bearer ", id.text, NOW_S + 4), TG_MANAGER_OK, "before");
    expect_fault(ask_with("Bearer ", id.text, NOW_S + 5), TG_MANAGER_EXPIRED, "then");
}

/* ---- forms of a credential ---- */

static void credential_forms(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, INT64_MAX);
    struct id_token id = id_token_of(user.token);
    static const struct {
        const char *why, *before, *after;
        enum tg_manager_fault of_id, of_token;           /* with an ID token, with an API token */
    } cases[] = {
        {"Bearer", "Bearer ", "", TG_MANAGER_OK, TG_MANAGER_OK},
        {"in any case", "bEaReR ", "", TG_MANAGER_OK, TG_MANAGER_OK},
        {"several blanks", "Bearer    ", "", TG_MANAGER_OK, TG_MANAGER_OK},
        {"Pomerium", "Pomerium ", "", TG_MANAGER_OK, TG_MANAGER_OK},
        {"pomerium", "pomerium ", "", TG_MANAGER_OK, TG_MANAGER_OK},
        {"white space around", " \tBearer ", " \t", TG_MANAGER_OK, TG_MANAGER_OK},
        {"bare: a JWT only", "", "", TG_MANAGER_OK, TG_MANAGER_NONE},
        {"bare, white space around", " ", "\t", TG_MANAGER_OK, TG_MANAGER_NONE},
        {"bare with a comma", "", ",", TG_MANAGER_NONE, TG_MANAGER_NONE},
        {"bare and a word", "", " x", TG_MANAGER_NONE, TG_MANAGER_NONE},
        {"bare with a fourth part", "", ".x", TG_MANAGER_NONE, TG_MANAGER_NONE},
        {"a tab", "Bearer\t", "", TG_MANAGER_MALFORMED, TG_MANAGER_MALFORMED},
        {"two words", "Bearer a ", "", TG_MANAGER_MALFORMED, TG_MANAGER_MALFORMED},
        {"a comma", "Bearer ", ", x", TG_MANAGER_MALFORMED, TG_MANAGER_MALFORMED},
        {"Basic", "Basic ", "", TG_MANAGER_NONE, TG_MANAGER_NONE},
        {"DPoP", "DPoP ", "", TG_MANAGER_NONE, TG_MANAGER_NONE},
        {"Bearerx", "Bearerx ", "", TG_MANAGER_NONE, TG_MANAGER_NONE},
        {"a character more", "Bearer ", "x", TG_MANAGER_INVALID, TG_MANAGER_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char token[2100];

        snprintf(token, sizeof token, "%s%s", id.text, cases[i].after);
        expect_fault(ask_with(cases[i].before, token, NOW_S), cases[i].of_id, cases[i].why);
        snprintf(token, sizeof token, "%s%s", user.token, cases[i].after);
        expect_fault(ask_with(cases[i].before, token, NOW_S), cases[i].of_token, cases[i].why);
    }
    expect_fault(ask("Bearer", NOW_S), TG_MANAGER_MALFORMED, "no token");
    expect_fault(ask("Bearer ", NOW_S), TG_MANAGER_MALFORMED, "no token, a blank");
    expect_fault(ask("Pomerium", NOW_S), TG_MANAGER_MALFORMED, "no token either");
    expect_fault(ask("", NOW_S), TG_MANAGER_NONE, "an empty field");
    expect_fault(ask("a.b.c", NOW_S), TG_MANAGER_NONE, "three parts, no header");
    expect_fault(ask("eyJ4IjoxfQ.e30.AAAA", NOW_S), TG_MANAGER_NONE, "a header without alg");
    expect_fault(ask("eyJhbGciOjF9.e30.AAAA", NOW_S), TG_MANAGER_NONE, "an alg that is no text");
    expect_fault(ask("eyJhbGciOiJub25lIn0.e30.AAAA", NOW_S), TG_MANAGER_INVALID, "a JWT by its form, alg none");
    expect_fault(ask("eyJhbGciOiJub25lIn0.e30.", NOW_S), TG_MANAGER_NONE, "an empty signature");
    ask_with("", id.text, NOW_S);
    assert_true(who.bare);
}

static void several_or_no_fields(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, INT64_MAX);
    char field[80];
    struct tg_slice two[2];

    (void)state;
    snprintf(field, sizeof field, "Bearer %s", user.token);
    two[0] = two[1] = tg_slice_str(field);
    expect_fault(tg_managers_check(managers, two, 2, NOW_MS, &who, &said), TG_MANAGER_MALFORMED, "the same twice");
    expect_fault(tg_managers_check(managers, two, 0, NOW_MS, &who, &said), TG_MANAGER_NONE, "none");
    expect_fault(tg_managers_check(managers, two, 1, NOW_MS, &who, &said), TG_MANAGER_OK, "one");
}

static void bare_is_a_setting(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, INT64_MAX);
    struct id_token id = id_token_of(user.token);
    struct tg_managers_settings settings = settings_of();

    (void)state;
    settings.accept_bare_token = false;
    tg_managers_bind(managers, &settings);
    expect_fault(ask_with("", id.text, NOW_S), TG_MANAGER_NONE, "off");
    expect_fault(ask_with("Bearer ", id.text, NOW_S), TG_MANAGER_OK, "the scheme still holds");
}

static void too_long(void **state)
{
    char *field = tg_alloc(MANAGERS_TOKEN_MAX + 16);

    (void)state;
    memcpy(field, "Bearer ", 7);
    memset(field + 7, 'a', MANAGERS_TOKEN_MAX + 1);
    expect_fault(ask(field, NOW_S), TG_MANAGER_MALFORMED, "over the limit");
    field[7 + MANAGERS_TOKEN_MAX] = '\0';
    expect_fault(ask(field, NOW_S), TG_MANAGER_INVALID, "at the limit");
    free(field);
}

/* ---- JWTs ---- */

static const char *jwt(const struct tg_signer *signer, const char *claims)
{
    static char text[4096];
    struct tg_buf out = {0};

    assert_int_equal(tg_signer_sign(signer, tg_slice_str(claims), "JWT", &out, NULL), TG_OK);
    snprintf(text, sizeof text, "%s", tg_buf_cstr(&out));
    tg_buf_fini(&out);
    return text;
}

static const char *operators_jwt(const char *iss, const char *sub, const char *aud, const char *more)
{
    static char claims[1024];

    snprintf(claims, sizeof claims, "{\"iss\":\"%s\",\"sub\":\"%s\",\"aud\":%s%s}", iss, sub, aud, more);
    return claims;
}

#define AUD "\"" URL "\""
#define IAT ",\"iat\":1800000000"
static void operators_tokens(void **state)
{
    static const struct {
        const char *why, *iss, *sub, *aud, *more;
        enum tg_manager_fault want;
    } cases[] = {
        {"as it should be", "alice", "alice", AUD, IAT, TG_MANAGER_OK},
        {"aud as a list", "alice", "alice", "[" AUD ",\"x\"]", IAT, TG_MANAGER_OK},
        {"with exp", "alice", "alice", AUD, IAT ",\"exp\":1800000100", TG_MANAGER_OK},
        {"an exp far ahead changes nothing", "alice", "alice", AUD, IAT ",\"exp\":1900000000", TG_MANAGER_OK},
        {"nearly an hour old", "alice", "alice", AUD, ",\"iat\":1799996401", TG_MANAGER_OK},
        {"an hour old", "alice", "alice", AUD, ",\"iat\":1799996400", TG_MANAGER_EXPIRED},
        {"two hours old, exp ahead", "alice", "alice", AUD, ",\"iat\":1799992800,\"exp\":1900000000",
         TG_MANAGER_EXPIRED},
        {"its own exp holds", "alice", "alice", AUD, IAT ",\"exp\":1800000000", TG_MANAGER_EXPIRED},
        {"30 s ahead", "alice", "alice", AUD, ",\"iat\":1800000030", TG_MANAGER_OK},
        {"31 s ahead", "alice", "alice", AUD, ",\"iat\":1800000031", TG_MANAGER_INVALID},
        {"nbf ahead", "alice", "alice", AUD, IAT ",\"nbf\":1800000031", TG_MANAGER_INVALID},
        {"no iat", "alice", "alice", AUD, ",\"exp\":1800000100", TG_MANAGER_INVALID},
        {"iat as text", "alice", "alice", AUD, ",\"iat\":\"1800000000\"", TG_MANAGER_INVALID},
        {"exp as text", "alice", "alice", AUD, IAT ",\"exp\":\"1800000100\"", TG_MANAGER_INVALID},
        {"sub of another", "alice", "bob", AUD, IAT, TG_MANAGER_INVALID},
        {"iss of another operator", "bob", "bob", AUD, IAT, TG_MANAGER_INVALID},
        {"iss of nobody", "carol", "carol", AUD, IAT, TG_MANAGER_INVALID},
        {"iss in another case", "Alice", "Alice", AUD, IAT, TG_MANAGER_INVALID},
        {"aud without the port", "alice", "alice", "\"https://api.example.com\"", IAT, TG_MANAGER_INVALID},
        {"aud with a slash", "alice", "alice", "\"" URL "/\"", IAT, TG_MANAGER_INVALID},
        {"aud of another scheme", "alice", "alice", "\"http://api.example.com:9443\"", IAT, TG_MANAGER_INVALID},
        {"aud null", "alice", "alice", "null", IAT, TG_MANAGER_INVALID},
        {"aud empty", "alice", "alice", "[]", IAT, TG_MANAGER_INVALID},
        {"aud wrong and old: not told", "alice", "alice", "\"x\"", ",\"iat\":1799992800", TG_MANAGER_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_fault(ask_with("Bearer ", jwt(alice, operators_jwt(cases[i].iss, cases[i].sub, cases[i].aud,
                                                                  cases[i].more)), NOW_S), cases[i].want, cases[i].why);
    expect_fault(ask_with("Bearer ", jwt(alice, "{\"iss\":\"alice\",\"sub\":\"alice\"" IAT "}"), NOW_S),
                 TG_MANAGER_INVALID, "no aud");
    expect_fault(ask_with("Bearer ", jwt(stranger, operators_jwt("alice", "alice", AUD, IAT)), NOW_S),
                 TG_MANAGER_INVALID, "signed by a stranger");
    expect_fault(ask_with("Bearer ", jwt(bob, operators_jwt("bob", "bob", AUD, IAT)), NOW_S), TG_MANAGER_OK, "Ed25519");
    assert_int_equal(who.how, TG_MANAGER_OPERATOR);
    assert_int_equal(who.role, TG_ROLE_AUDITOR);
    assert_string_equal(who.id, "bob");
    expect_fault(ask_with("", jwt(alice, operators_jwt("alice", "alice", AUD, IAT)), NOW_S), TG_MANAGER_OK, "bare");
    assert_int_equal(who.exp_s, NOW_S + HOUR_S);
}

static const char *octets(const struct tg_signer *signer, const char *header, const char *claims)
{
    static char text[4096];
    struct tg_buf out = {0};

    assert_int_equal(tg_signer_sign_octets(signer, tg_slice_str(header), tg_slice_str(claims), &out, NULL), TG_OK);
    snprintf(text, sizeof text, "%s", tg_buf_cstr(&out));
    tg_buf_fini(&out);
    return text;
}

static void operators_headers(void **state)
{
    static const struct {
        const char *why, *header;
        enum tg_manager_fault want;
    } cases[] = {
        {"no kid", "{\"alg\":\"ES256\"}", TG_MANAGER_OK},
        {"any kid", "{\"alg\":\"ES256\",\"kid\":\"whatever\"}", TG_MANAGER_OK},
        {"typ in any case", "{\"alg\":\"ES256\",\"typ\":\"jwt\"}", TG_MANAGER_OK},
        {"something else that was signed", "{\"alg\":\"ES256\",\"typ\":\"dpop+jwt\"}", TG_MANAGER_INVALID},
        {"alg none", "{\"alg\":\"none\"}", TG_MANAGER_INVALID},
        {"an alg of another kind", "{\"alg\":\"RS256\"}", TG_MANAGER_INVALID},
        {"the public key as a secret", "{\"alg\":\"HS256\"}", TG_MANAGER_INVALID},
        {"crit", "{\"alg\":\"ES256\",\"crit\":[\"x\"],\"x\":1}", TG_MANAGER_INVALID},
    };
    char claims[1024];

    (void)state;
    snprintf(claims, sizeof claims, "%s", operators_jwt("alice", "alice", AUD, IAT));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_fault(ask_with("Bearer ", octets(alice, cases[i].header, claims), NOW_S), cases[i].want, cases[i].why);
}

static void rsa_operator(void **state)
{
    struct tg_managers_settings settings = settings_of();
    struct tg_signer *rsa = NULL, *pss = NULL;
    struct tg_buf pem = {0};
    struct tg_operator one = {.id = TG_S_INIT("alice"), .role = TG_ROLE_OWNER};
    struct tg_operators list = {&one, 1};

    (void)state;
    assert_int_equal(tg_signer_generate(TG_ALG_RS256, &rsa, NULL), TG_OK);
    assert_int_equal(tg_signer_pem(rsa, &pem, NULL), TG_OK);
    assert_int_equal(tg_signer_load(TG_ALG_PS256, tg_buf_slice(&pem), (struct tg_slice){0}, &pss, NULL), TG_OK);
    one.keys = public_half(rsa);
    settings.operators = &list;
    tg_managers_bind(managers, &settings);
    expect_fault(ask_with("Bearer ", jwt(rsa, operators_jwt("alice", "alice", AUD, IAT)), NOW_S), TG_MANAGER_OK,
                 "RS256");
    expect_fault(ask_with("Bearer ", jwt(pss, operators_jwt("alice", "alice", AUD, IAT)), NOW_S), TG_MANAGER_INVALID,
                 "PS256 is not among the algorithms");
    expect_fault(ask_with("Bearer ", jwt(alice, operators_jwt("alice", "alice", AUD, IAT)), NOW_S), TG_MANAGER_INVALID,
                 "the key of before");
    tg_jwks_unref(one.keys);
    tg_signer_free(rsa);
    tg_signer_free(pss);
    tg_buf_wipe(&pem);
}

static void operators_logout(void **state)
{
    char one[4096];

    (void)state;
    snprintf(one, sizeof one, "%s", jwt(bob, operators_jwt("bob", "bob", AUD, IAT)));
    expect_fault(ask_with("Bearer ", one, NOW_S), TG_MANAGER_OK, "before");
    assert_int_equal(tg_managers_logout(managers, &who, NOW_MS, NULL), TG_OK);
    expect_fault(ask_with("Bearer ", one, NOW_S), TG_MANAGER_INVALID, "ended");
    expect_fault(ask_with("Bearer ", jwt(bob, operators_jwt("bob", "bob", AUD, IAT ",\"jti\":\"2\"")), NOW_S),
                 TG_MANAGER_OK, "another of the same operator");
}

/* Nobody but the key in state_dir makes ID tokens. */
static void forged_id_tokens(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, INT64_MAX);
    struct id_token id = id_token_of(user.token);
    static const char times[] = ",\"iat\":1800000000,\"exp\":1800003600}";
    static const struct {
        const char *why, *before, *after;                /* around the user's id */
        enum tg_manager_fault want;
    } cases[] = {
        {"as ours", "{\"iss\":\"" URL "\",\"aud\":" AUD ",\"jti\":\"j\",\"sub\":\"", times, TG_MANAGER_OK},
        {"no jti", "{\"iss\":\"" URL "\",\"aud\":" AUD ",\"sub\":\"", times, TG_MANAGER_INVALID},
        {"no exp", "{\"iss\":\"" URL "\",\"aud\":" AUD ",\"jti\":\"j\",\"sub\":\"", IAT "}", TG_MANAGER_INVALID},
        {"longer than an hour", "{\"iss\":\"" URL "\",\"aud\":" AUD ",\"jti\":\"j\",\"sub\":\"",
         IAT ",\"exp\":1800003601}", TG_MANAGER_INVALID},
        {"another audience", "{\"iss\":\"" URL "\",\"aud\":\"x\",\"jti\":\"j\",\"sub\":\"", times, TG_MANAGER_INVALID},
        {"of an operator, by our key", "{\"iss\":\"alice\",\"aud\":" AUD ",\"sub\":\"alice\",\"jti\":\"", times,
         TG_MANAGER_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char claims[512];

        snprintf(claims, sizeof claims, "%s%s\"%s", cases[i].before, user.id, cases[i].after);
        expect_fault(ask_with("Bearer ", jwt(managers->keys.signer, claims), NOW_S), cases[i].want, cases[i].why);
        expect_fault(ask_with("Bearer ", jwt(stranger, claims), NOW_S), TG_MANAGER_INVALID, "by a stranger");
        if (i + 1 < ARRAY_LEN(cases))
            expect_fault(ask_with("Bearer ", jwt(alice, claims), NOW_S), TG_MANAGER_INVALID, "by an operator");
    }
    for (size_t i = 0; id.text[i]; i++) {                /* whatever is changed in one */
        char was = id.text[i];

        id.text[i] = was == 'A' ? 'B' : 'A';
        assert_true(ask_with("Bearer ", id.text, NOW_S) == TG_MANAGER_INVALID);
        id.text[i] = was;
    }
    expect_fault(ask_with("Bearer ", id.text, NOW_S), TG_MANAGER_OK, "unchanged");
}

static void tokens_of_the_data_plane(void **state)
{
    struct tg_buf pat = {0};

    (void)state;
    tg_pat_make(&pat);
    expect_fault(ask_with("Bearer ", tg_buf_cstr(&pat), NOW_S), TG_MANAGER_INVALID, "a personal access token");
    expect_fault(ask_with("Bearer ", jwt(stranger, "{\"iss\":\"https://idp.example.com\",\"aud\":" AUD
                                                   ",\"sub\":\"x\",\"iat\":1800000000,\"exp\":1800000100}"), NOW_S),
                 TG_MANAGER_INVALID, "a provider's");
    tg_buf_wipe(&pat);
}

/* ---- the key ---- */

static void put_keys(const struct tg_signer *first, const struct tg_signer *second)
{
    struct tg_buf pem = {0};

    assert_int_equal(tg_signer_pem(first, &pem, NULL), TG_OK);
    if (second)
        assert_int_equal(tg_signer_pem(second, &pem, NULL), TG_OK);
    assert_int_equal(tg_file_replace(in_folder("management-key.pem"), tg_buf_slice(&pem), 0600, NULL), TG_OK);
    tg_buf_wipe(&pem);
}

static void key_rotation(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, INT64_MAX);
    struct tg_signer *old = NULL, *new = NULL, *ed = NULL;
    struct id_token of_old, of_new;
    struct stat st;

    (void)state;
    assert_int_equal(stat(in_folder("management-key.pem"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    tg_signer_generate(TG_ALG_ES256, &old, NULL);
    tg_signer_generate(TG_ALG_ES256, &new, NULL);
    tg_signer_generate(TG_ALG_EdDSA, &ed, NULL);

    put_keys(old, NULL);
    of_old = id_token_of(user.token);
    put_keys(new, old);
    expect_fault(ask_with("Bearer ", of_old.text, NOW_S), TG_MANAGER_OK, "by the second key");
    of_new = id_token_of(user.token);
    put_keys(new, NULL);
    expect_fault(ask_with("Bearer ", of_new.text, NOW_S), TG_MANAGER_OK, "the first key signed");
    expect_fault(ask_with("Bearer ", of_old.text, NOW_S), TG_MANAGER_INVALID, "the old key is gone");

    put_keys(ed, NULL);                                  /* no key of ours: the one that is known stays */
    expect_fault(ask_with("Bearer ", of_new.text, NOW_S), TG_MANAGER_OK, "a file of the wrong kind");
    assert_int_equal(tg_file_replace(in_folder("management-key.pem"), TG_S("junk"), 0600, NULL), TG_OK);
    expect_fault(ask_with("Bearer ", of_new.text, NOW_S), TG_MANAGER_OK, "a broken file");
    unlink(in_folder("management-key.pem"));
    expect_fault(ask_with("Bearer ", of_new.text, NOW_S), TG_MANAGER_INVALID, "deleted: another key was made");
    assert_int_equal(stat(in_folder("management-key.pem"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    of_new = id_token_of(user.token);
    expect_fault(ask_with("Bearer ", of_new.text, NOW_S), TG_MANAGER_OK, "by the key that was made");
    tg_signer_free(old);
    tg_signer_free(new);
    tg_signer_free(ed);
}

static void key_is_kept(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, INT64_MAX);
    struct id_token id = id_token_of(user.token);

    (void)state;
    tg_managers_free(managers);
    open_managers();
    expect_fault(ask_with("Bearer ", id.text, NOW_S), TG_MANAGER_OK, "after a restart");
}

static void broken_key_at_the_start(void **state)
{
    struct tg_managers_settings settings = settings_of();

    (void)state;
    tg_managers_free(managers);
    managers = NULL;
    assert_int_equal(tg_file_replace(in_folder("management-key.pem"), TG_S("junk"), 0600, NULL), TG_OK);
    assert_int_not_equal(tg_managers_open(db, &settings, &managers, &said), TG_OK);
    assert_non_null(strstr(said.text, "management-key.pem"));
    assert_null(managers);
}

/* ---- last use ---- */

static void keep_used(void *arg, const struct tg_api_user *user)
{
    *(int64_t *)arg = user->used_s;
}

static int64_t used_of(const char *id)
{
    int64_t used_s = -2;

    assert_int_equal(tg_api_user_list(db, tg_slice_str(id), 0, 0, keep_used, &used_s, NULL, NULL), TG_OK);
    return used_s;
}

static void last_use(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, INT64_MAX), other = made_of("two", TG_ROLE_OWNER, INT64_MAX);
    const int64_t minute_s = NOW_S / 60 * 60;
    int64_t version;

    (void)state;
    assert_int_equal(used_of(user.id), -1);
    ask_with("Bearer ", user.token, NOW_S);
    assert_int_equal(used_of(user.id), minute_s);        /* the first is written at once */
    ask_with("Bearer ", other.token, NOW_S + 1);
    assert_int_equal(used_of(other.id), -1);             /* the next a little later */
    tg_managers_flush(managers, NOW_MS + 1000);
    assert_int_equal(used_of(other.id), minute_s);
    version = tg_db_version(db);
    for (int i = 2; i < 10; i++)
        ask_with("Bearer ", user.token, NOW_S + i);
    assert_int_equal(managers->used.count, 0);           /* known to that minute already */
    assert_int_equal(tg_db_version(db), version);
    ask_with("Bearer ", user.token, minute_s + 60);
    assert_int_equal(used_of(user.id), minute_s + 60);
    ask_with("Bearer ", user.token, NOW_S + 100000);
    ask_with("Bearer ", other.token, NOW_S + 100001);
    delete_it(user.id);
    expect_fault(ask_with("Bearer ", user.token, NOW_S + 100002), TG_MANAGER_INVALID, "deleted");
    tg_managers_free(managers);                          /* what waits is written */
    assert_int_equal(used_of(other.id), (NOW_S + 100001) / 60 * 60);
    open_managers();
}

/* Many at once: what there is no room for is seen at its next use. */
static void many_users(void **state)
{
    struct made first = {0}, last = {0};

    (void)state;
    for (int i = 0; i < MANAGERS_USED_MAX + 10; i++) {
        char name[16];
        struct made user;

        snprintf(name, sizeof name, "u%d", i);
        user = made_of(name, TG_ROLE_MEMBER, INT64_MAX);
        if (i == 0)
            first = user;
        last = user;
        expect_fault(ask_with("Bearer ", user.token, NOW_S), TG_MANAGER_OK, name);
    }
    tg_managers_flush(managers, NOW_MS);
    assert_int_equal(used_of(first.id), NOW_S / 60 * 60);
    assert_int_equal(used_of(last.id), NOW_S / 60 * 60);
    assert_int_equal(managers->used.count, 0);
}

/* ---- the database ---- */

static void replaced_database(void **state)
{
    struct made user = made_of("ci", TG_ROLE_OWNER, INT64_MAX);
    struct id_token id = id_token_of(user.token);

    (void)state;
    assert_int_equal(rename(in_folder("tollgate.db"), in_folder("aside.db")), 0);
    expect_fault(ask_with("Bearer ", user.token, NOW_S), TG_MANAGER_FAILED, "a token");
    expect_fault(ask_with("Bearer ", id.text, NOW_S), TG_MANAGER_FAILED, "an ID token");
    assert_int_equal(exchange(user.token, NOW_S, &id), TG_UNAVAILABLE);
    expect_fault(ask("Basic x", NOW_S), TG_MANAGER_NONE, "no store is needed to say so");
    assert_int_equal(rename(in_folder("aside.db"), in_folder("tollgate.db")), 0);
    expect_fault(ask_with("Bearer ", user.token, NOW_S), TG_MANAGER_OK, "back in its place");
}

/* ---- the settings ---- */

static void read_settings(const char *text, struct tg_operators *out, struct tg_problems *problems,
                          struct tg_arena *arena)
{
    struct tg_tree *tree = NULL;

    assert_int_equal(tg_tree_parse(in_folder("t.yaml"), tg_slice_str(text), &tree, NULL), TG_OK);
    tg_operators_read(tree, tg_json_get(tree->root, "operators"), arena, out, problems);
    tg_tree_free(tree);
}

static void settings(void **state)
{
    static const struct {
        const char *text, *problem;                      /* NULL: fine */
    } cases[] = {
        {"{}", NULL},
        {"operators: []", NULL},
        {"operators: [{id: alice, public_key_file: operator.pem}]", NULL},
        {"operators: [{id: alice, public_key_file: operator.pem, role: viewer}]", NULL},
        {"operators: {id: alice}", "is a list"},
        {"operators: [alice]", "is a mapping"},
        {"operators: [{public_key_file: operator.pem}]", "id"},
        {"operators: [{id: alice}]", "public_key_file"},
        {"operators: [{id: \"a b\", public_key_file: operator.pem}]", "visible ASCII"},
        {"operators: [{id: alice, public_key_file: none.pem}]", "none.pem"},
        {"operators: [{id: alice, public_key_file: management-key.pem}]", "private key"},
        {"operators: [{id: alice, public_key_file: tollgate.db}]", "public_key_file"},
        {"operators: [{id: alice, public_key_file: operator.pem, role: king}]", "role"},
        {"operators: [{id: alice, public_key_file: operator.pem, roles: owner}]", "did you mean"},
        {"operators: [{id: a, public_key_file: operator.pem}, {id: a, public_key_file: operator.pem}]", "operators[1]"},
    };
    const struct tg_slice pem = TG_S("-----BEGIN PUBLIC KEY-----\n"
                              "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
                              "-----END PUBLIC KEY-----\n");

    (void)state;
    assert_int_equal(tg_file_replace(in_folder("operator.pem"), pem, 0644, NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_problems problems = {0};
        struct tg_operators out = {0};
        struct tg_arena arena;

        tg_arena_init(&arena, NULL, 0);
        read_settings(cases[i].text, &out, &problems, &arena);
        if (cases[i].problem && (problems.errors == 0 || !strstr(problems.items[0].text, cases[i].problem)))
            fail_msg("%s: %s", cases[i].text, problems.count ? problems.items[0].text : "no problem");
        if (!cases[i].problem && problems.errors)
            fail_msg("%s: %s", cases[i].text, problems.items[0].text);
        if (!cases[i].problem && out.count)
            assert_int_equal(out.items[0].role, strstr(cases[i].text, "viewer") ? TG_ROLE_AUDITOR : TG_ROLE_OWNER);
        tg_operators_fini(&out);
        tg_problems_fini(&problems);
        tg_arena_fini(&arena);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_form),
        cmocka_unit_test(roles),
        CASE(users),
        CASE(expired_name),
        CASE(nothing_secret_is_kept),
        CASE(api_token),
        CASE(id_tokens),
        CASE(logout_of_a_token),
        CASE(role_is_the_rows),
        CASE(id_token_ends_with_its_user),
        CASE(earlier_end),
        CASE(credential_forms),
        CASE(several_or_no_fields),
        CASE(bare_is_a_setting),
        CASE(too_long),
        CASE(operators_tokens),
        CASE(operators_headers),
        CASE(rsa_operator),
        CASE(operators_logout),
        CASE(forged_id_tokens),
        CASE(tokens_of_the_data_plane),
        CASE(key_rotation),
        CASE(key_is_kept),
        CASE(broken_key_at_the_start),
        CASE(last_use),
        CASE(many_users),
        CASE(replaced_database),
        CASE(settings),
    };

    return cmocka_run_group_tests_name("managers", tests, set_up, tear_down);
}
