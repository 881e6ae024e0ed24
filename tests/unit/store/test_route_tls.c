/*
 * route_tls - what a route says about TLS to its service: taken, or refused where it stands and with the reason.
 */
#include "support.h"
#include "base/digest.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A certificate that is its own authority, its key, and the key of another one; made for this test alone. */
static const char cert_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBezCCASKgAwIBAgIUJNjz1t4Orw1r3bDRe5U/hDyzxkMwCgYIKoZIzj0EAwIw\n"
    "DDEKMAgGA1UEAwwBYTAgFw0yNjExMjIwMTMyMjVaGA8yMTI2MTAyOTAxMzIyNVow\n"
    "DDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABM8gGJ4w2SaR\n"
    "ReGm7J0QewOB4izUX1Qucnwep/lhYGR6QQ8iaLJ2OZBS+H5zwc1Yf+WHDYMqtnUG\n"
    "e7WzY+1SWVKjYDBeMB0GA1UdDgQWBBT+/KOPZ9r53yUDJZXBD4MjNpc7QzAfBgNV\n"
    "HSMEGDAWgBT+/KOPZ9r53yUDJZXBD4MjNpc7QzAPBgNVHRMBAf8EBTADAQH/MAsG\n"
    "A1UdDwQEAwIChDAKBggqhkjOPQQDAgNHADBEAiAEkyd4Z91mxejumKUqz6KCb440\n"
    "nkKF93/0/hdVt5dVUQIgOXGsxlRCB++sYmHyemqOPYyM3mF7r4G9rXnFnPUaK64=\n"
    "-----END CERTIFICATE-----\n";
static const char key_pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBaS70f7nd7rSPs2f\n"
    "vGcB5YYYoPvCRfy1F0A2RBRxpzyhRANCAATPIBieMNkmkUXhpuydEHsDgeIs1F9U\n"
    "LnJ8Hqf5YWBkekEPImiydjmQUvh+c8HNWH/lhw2DKrZ1Bnu1s2PtUllS\n"
    "-----END PRIVATE KEY-----\n";
static const char other_key_pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg15l/ZjTjR3ZaPuK1\n"
    "y5jhga6xZ/odvmFSJPrEbBh6B6OhRANCAAR5jU+4Mdr1TlD2A3y8hJJ/y+U1weoo\n"
    "Dq44ZheaA1E+XXeHHujEuWIk6dMU5rATrnp9Ci32iRMl2erUvBng20Oh\n"
    "-----END PRIVATE KEY-----\n";

static char folder[] = "/tmp/tollgate-route-tls-XXXXXX";
static struct tg_buf cert64, key64, garbage64;           /* base64 */

static void put(const char *name, const char *text, mode_t mode)
{
    char path[80];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static const char *const names[] = {"ca.pem", "c.pem", "c.key", "other.key", "open.key", "empty.pem"};

static int make_files(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    put("ca.pem", cert_pem, 0644);
    put("c.pem", cert_pem, 0644);
    put("c.key", key_pem, 0600);
    put("other.key", other_key_pem, 0600);
    put("open.key", key_pem, 0644);
    put("empty.pem", "", 0644);
    tg_base64_encode(tg_slice_str(cert_pem), &cert64);
    tg_base64_encode(tg_slice_str(key_pem), &key64);
    tg_base64_encode(TG_S("just a text"), &garbage64);
    tg_buf_cstr(&key64);
    return 0;
}

static int drop_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[80];

        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    tg_buf_fini(&cert64);
    tg_buf_fini(&key64);
    tg_buf_fini(&garbage64);
    return 0;
}

/* $CERT, $KEY, $TEXT in `settings` become base64. */
static void expand(const char *settings, struct tg_buf *out)
{
    while (*settings) {
        const struct { const char *name; const struct tg_buf *text; } all[] = {
            {"$CERT", &cert64}, {"$KEY", &key64}, {"$TEXT", &garbage64}};
        bool found = false;

        for (size_t i = 0; i < ARRAY_LEN(all) && !found; i++) {
            if (strncmp(settings, all[i].name, strlen(all[i].name)) != 0)
                continue;
            tg_buf_add_slice(out, tg_buf_slice(all[i].text));
            settings += strlen(all[i].name);
            found = true;
        }
        if (!found)
            tg_buf_addc(out, *settings++);
    }
    tg_buf_cstr(out);
}

static void read_in_folder(struct reading *r, const char *yaml)
{
    static const struct tg_route_defaults none = {0};
    struct tg_buf text = {0};
    char file[80];

    snprintf(file, sizeof(file), "%s/t.yaml", folder);
    expand(yaml, &text);
    read_defaults(r, file, text.data, &none);
    tg_buf_fini(&text);
}

#define OPEN "allow_public_unauthenticated_access: true, "
#define HTTPS "routes: [{" OPEN "to: 'https://u', "

static void refused(void **state)
{
    static const struct { const char *why, *settings, *part; } cases[] = {
        {"a CA that is not there", "tls_custom_ca_file: none.pem", "tls_custom_ca_file:"},
        {"its name", "tls_custom_ca_file: none.pem", "none.pem"},
        {"a CA without a certificate", "tls_custom_ca_file: empty.pem", "tls_custom_ca_file:"},
        {"a key as a CA", "tls_custom_ca_file: c.key", "tls_custom_ca_file:"},
        {"two CAs", "tls_custom_ca_file: ca.pem, tls_custom_ca: $CERT",
         "tls_custom_ca: cannot be together with tls_custom_ca_file"},
        {"a CA as PEM", "tls_custom_ca: '-----BEGIN CERTIFICATE-----'", "PEM itself goes into a file: tls_custom_ca"},
        {"a CA that is not base64", "tls_custom_ca: '*'", "tls_custom_ca: is not base64"},
        {"a CA that is base64url", "tls_custom_ca: '_-__'", "tls_custom_ca: is not base64"},
        {"an empty CA", "tls_custom_ca: ''", "tls_custom_ca: is not base64"},
        {"base64 of something else", "tls_custom_ca: $TEXT", "tls_custom_ca: is base64, but not of PEM"},
        {"base64 of a key", "tls_custom_ca: $KEY", "tls_custom_ca:"},
        {"verification by nothing", "tls_custom_ca_file: ca.pem, tls_skip_verify: true",
         "tls_skip_verify: cannot be together with tls_custom_ca_file"},
        {"verification by nothing, inline", "tls_custom_ca: $CERT, tls_skip_verify: true",
         "tls_skip_verify: cannot be together with tls_custom_ca:"},
        {"a certificate without its key", "tls_client_cert_file: c.pem",
         "tls_client_cert_file: needs its private key: tls_client_key_file"},
        {"a key without its certificate", "tls_client_key_file: c.key",
         "tls_client_key_file: needs its certificate: tls_client_cert_file"},
        {"the same inline", "tls_client_cert: $CERT", "tls_client_cert: needs its private key: tls_client_key"},
        {"and the other way", "tls_client_key: $KEY", "tls_client_key: needs its certificate: tls_client_cert"},
        {"one inline, one a file", "tls_client_cert_file: c.pem, tls_client_key: $KEY", "tls_client_key: goes with"},
        {"the other inline", "tls_client_cert: $CERT, tls_client_key_file: c.key", "tls_client_key_file: goes with"},
        {"two certificates", "tls_client_cert: $CERT, tls_client_cert_file: c.pem, tls_client_key_file: c.key",
         "tls_client_cert: cannot be together with tls_client_cert_file"},
        {"two keys", "tls_client_key: $KEY, tls_client_cert_file: c.pem, tls_client_key_file: c.key",
         "tls_client_key: cannot be together with tls_client_key_file"},
        {"another's key", "tls_client_cert_file: c.pem, tls_client_key_file: other.key", "tls_client_cert_file:"},
        {"a key everybody may read", "tls_client_cert_file: c.pem, tls_client_key_file: open.key",
         "tls_client_key_file:"},
        {"a key that is not there", "tls_client_cert_file: c.pem, tls_client_key_file: none.key",
         "tls_client_key_file:"},
        {"a key that is none", "tls_client_cert: $CERT, tls_client_key: $TEXT", "tls_client_key: is base64, but not"},
        {"a key that is PEM", "tls_client_cert: $CERT, tls_client_key: '-----BEGIN PRIVATE KEY-----'",
         "tls_client_key: is base64 of PEM"},
        {"a name with a port", "tls_upstream_server_name: 'a:443'", "tls_upstream_server_name: must be a host name"},
        {"a name with a wildcard", "tls_upstream_server_name: '*.a'", "without a port"},
        {"a URL as a name", "tls_upstream_server_name: 'https://a'", "without a port"},
        {"an empty name", "tls_upstream_server_name: ''", "without a port"},
        {"the old name", "tls_server_name: 'a b'", "tls_server_name: must be a host name"},
        {"both names", "tls_upstream_server_name: a, tls_server_name: a", "tls_server_name: is the old name"},
        {"renegotiation", "tls_upstream_allow_renegotiation: true", "allow_renegotiation is not supported"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int plain = 0; plain < 2; plain++) {        /* an error without https too: the user wants to know */
            struct reading r;
            struct tg_buf text = {0};

            tg_buf_addf(&text, plain ? "routes: [{" OPEN "to: 'http://u', %s}]" : HTTPS "%s}]", cases[i].settings);
            read_in_folder(&r, tg_buf_cstr(&text));
            if (r.ok || !is_told(&r, false, cases[i].part))
                fail_msg("%s: %s", cases[i].why, first_told(&r));
            for (size_t k = 0; k < r.problems.count; k++)
                if (strstr(r.problems.items[k].text, key64.data) || strstr(r.problems.items[k].text, "MIGH"))
                    fail_msg("%s: the message holds the key", cases[i].why);
            done(&r);
            tg_buf_fini(&text);
        }
    }
}

static void taken(void **state)
{
    static const struct { const char *settings, *name, *warning; } cases[] = {
        {"prefix: /", "u", NULL},
        {"tls_custom_ca_file: ca.pem", "u", NULL},
        {"tls_custom_ca: $CERT", "u", NULL},
        {"tls_custom_ca: \" $CERT \\n\"", "u", NULL},
        {"tls_client_cert_file: c.pem, tls_client_key_file: c.key", "u", NULL},
        {"tls_client_cert: $CERT, tls_client_key: $KEY", "u", NULL},
        {"tls_upstream_server_name: API.example.com.", "api.example.com", NULL},
        {"tls_server_name: b", "b", NULL},
        {"tls_upstream_server_name: 10.0.0.1", "10.0.0.1", NULL},
        {"tls_upstream_server_name: '[::1]'", "::1", NULL},
        {"tls_upstream_server_name: '2001:DB8:0::1'", "2001:db8::1", NULL},
        {"tls_skip_verify: true", "u", ".tls_skip_verify: whoever answers is believed"},
        {"tls_skip_verify: false", "u", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;
        struct tg_buf text = {0};

        tg_buf_addf(&text, HTTPS "%s}]", cases[i].settings);
        read_in_folder(&r, tg_buf_cstr(&text));
        if (!r.ok || r.problems.count != (cases[i].warning != NULL) ||
            (cases[i].warning && !is_told(&r, true, cases[i].warning)))
            fail_msg("%s: %s", cases[i].settings, first_told(&r));
        const struct tg_route *route = tg_routes_at(r.routes, 0);

        if (!route->tls || !tg_slice_eq(route->targets[0].tls_name, tg_slice_str(cases[i].name)))
            fail_msg("%s: name " TG_S_FMT, cases[i].settings, TG_S_ARG(route->targets[0].tls_name));
        assert_int_equal(route->tls_skip_verify, cases[i].warning != NULL);
        done(&r);
        tg_buf_fini(&text);
    }
}

/* Each https target is called by its own host; the others have no name, and a route without any has no client. */
static void targets(void **state)
{
    struct reading r;

    (void)state;
    read_in_folder(&r, "routes:\n"
                       "- {" OPEN "prefix: /a, to: ['https://U.example.com:8443', 'https://[::1]', 'http://v']}\n"
                       "- {" OPEN "prefix: /b, to: 'http://u', tls_upstream_server_name: x}\n"
                       "- {" OPEN "prefix: /c, to: ['unix:/run/u', 'http://u'], tls_skip_verify: true}\n"
                       "- {" OPEN "to: 'http://u'}\n");
    assert_true(r.ok);
    const struct tg_target *t = tg_routes_at(r.routes, 0)->targets;

    assert_true(tg_slice_eq(t[0].tls_name, TG_S("u.example.com")) && t[0].url.tls);
    assert_true(tg_slice_eq(t[1].tls_name, TG_S("::1")));
    assert_int_equal(t[2].tls_name.len, 0);
    assert_non_null(tg_routes_at(r.routes, 0)->tls);
    for (size_t i = 1; i < 4; i++)
        assert_null(tg_routes_at(r.routes, i)->tls);
    assert_true(is_told(&r, true, "routes[1].tls_upstream_server_name: has no effect: no URL in `to` starts with"));
    assert_true(is_told(&r, true, "routes[2].tls_skip_verify: has no effect"));
    assert_false(tg_routes_at(r.routes, 2)->tls_skip_verify);
    assert_int_equal(r.problems.count, 2);
    done(&r);
}

/* One client for each distinct set of settings; its fingerprint tells what is the same from one reading to the next. */
static void shared(void **state)
{
    static const char yaml[] = "routes:\n"
                               "- {" OPEN "prefix: /a, to: 'https://u'}\n"
                               "- {" OPEN "prefix: /b, to: 'https://v', tls_upstream_server_name: x}\n"
                               "- {" OPEN "prefix: /c, to: 'https://u', tls_custom_ca_file: ca.pem}\n"
                               "- {" OPEN "prefix: /d, to: 'https://u', tls_custom_ca_file: ca.pem}\n"
                               "- {" OPEN "prefix: /e, to: 'https://u', tls_skip_verify: true}\n"
                               "- {" OPEN "prefix: /f, to: 'https://u', tls_client_cert_file: c.pem, "
                               "tls_client_key_file: c.key}\n";
    static const unsigned same_as[] = {0, 0, 2, 2, 4, 5};
    struct reading r, again;

    (void)state;
    read_in_folder(&r, yaml);
    read_in_folder(&again, yaml);
    assert_true(r.ok && again.ok);
    for (size_t i = 0; i < ARRAY_LEN(same_as); i++) {
        const struct tg_tls_client *one = tg_routes_at(r.routes, i)->tls;

        for (size_t k = 0; k < ARRAY_LEN(same_as); k++) {
            bool same = same_as[i] == same_as[k];

            assert_int_equal(tg_routes_at(r.routes, k)->tls == one, same);
            assert_int_equal(strcmp(tg_tls_client_fingerprint(tg_routes_at(again.routes, k)->tls),
                                    tg_tls_client_fingerprint(one)) == 0, same);
        }
    }
    done(&r);
    done(&again);
}

/* What is read with the document is watched: the files of TLS, the folder of policies and each of its files. */
static void noted(void **state)
{
    static const char *const wanted[] = {"/ca.pem", "/c.pem", "/c.key"};
    struct reading r;

    (void)state;
    read_in_folder(&r, HTTPS "tls_custom_ca_file: ca.pem, tls_client_cert_file: c.pem, tls_client_key_file: c.key}]");
    assert_true(r.ok);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        const char *path;
        bool found = false;

        for (size_t k = 0; (path = tg_tree_noted_file(r.tree, k)); k++)
            found = found || (strncmp(path, folder, strlen(folder)) == 0 &&
                              strcmp(path + strlen(folder), wanted[i]) == 0);
        if (!found)
            fail_msg("%s is not noted", wanted[i]);
    }
    done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused), cmocka_unit_test(taken), cmocka_unit_test(targets),
        cmocka_unit_test(shared),  cmocka_unit_test(noted),
    };

    return cmocka_run_group_tests(tests, make_files, drop_files);
}
