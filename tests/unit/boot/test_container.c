/*
 * container - where it runs, by what container engines leave behind; and what is said about loopback then.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "boot/container.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *variable, *value;

static const char *env(const char *name)
{
    return variable && strcmp(name, variable) == 0 ? value : NULL;
}

static const struct {
    const char *why, *variable, *value, *file;
    enum tg_container want;
} places[] = {
    {"a host", NULL, NULL, NULL, TG_CONTAINER_NONE},
    {"an empty variable says nothing", "container", "", NULL, TG_CONTAINER_NONE},
    {"Docker", NULL, NULL, "/.dockerenv", TG_CONTAINER_SOME},
    {"Podman", NULL, NULL, "/run/.containerenv", TG_CONTAINER_SOME},
    {"Podman by its variable", "container", "podman", NULL, TG_CONTAINER_SOME},
    {"a pod", "KUBERNETES_SERVICE_HOST", "10.0.0.1", NULL, TG_CONTAINER_KUBERNETES},
    {"a pod made by Docker", "KUBERNETES_SERVICE_HOST", "10.0.0.1", "/.dockerenv", TG_CONTAINER_KUBERNETES},
};

static void detected(void **state)
{
    char root[] = "/tmp/tollgate-root.XXXXXX", path[64];

    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof(path), "%s/run", root);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct tg_surroundings from = {env, root};
        enum tg_container got;

        variable = places[i].variable;
        value = places[i].value;
        snprintf(path, sizeof(path), "%s%s", root, places[i].file ? places[i].file : "");
        if (places[i].file)
            close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        got = tg_container_detect(&from);
        if (places[i].file)
            unlink(path);
        if (got != places[i].want)
            fail_msg("%s: %d", places[i].why, (int)got);
    }
    snprintf(path, sizeof(path), "%s/run", root);
    rmdir(path);
    rmdir(root);
}

#define UP "upstream: {to: \"http://127.0.0.1:3000\", allow_public_unauthenticated_access: true}\n"
#define SOME TG_CONTAINER_SOME
#define KUBERNETES TG_CONTAINER_KUBERNETES

static const struct {
    const char *why;
    enum tg_container where;
    const char *yaml;
    const char *warnings[2];
} cases[] = {
    {"on a host loopback is the right default", TG_CONTAINER_NONE, UP, {0}},
    {"the default in a container", SOME, UP,
     {"t.yaml:1:1: address: 127.0.0.1:8080 is loopback, and this is a container: nobody outside it can connect; set "
      "address: \"[::]:8080\""}},
    {"its own place and port", SOME, UP "address: \"[::1]:8443\"\n",
     {"t.yaml:2:10: address: [::1]:8443 is loopback, and this is a container: nobody outside it can connect; set "
      "address: \"[::]:8443\""}},
    {"one that is reached is enough", SOME, UP "address: [\"127.0.0.1:8080\", \"0.0.0.0:8081\"]\n", {0}},
    {"a unix socket may be shared", SOME, UP "address: unix:/run/x\n", {0}},
    {"all addresses", SOME, UP "address: \":8080\"\n", {0}},
    {"probes in a pod", KUBERNETES, UP "address: \"[::]:8080\"\n",
     {"health_address: 127.0.0.1:9090 is loopback, and this is a container: the kubelet's probes come to the pod's "
      "address and are refused; set health_address: \"[::]:9090\""}},
    {"both", KUBERNETES, UP, {"nobody outside this pod", "health_address: 127.0.0.1:9090"}},
    {"no probes are asked for", KUBERNETES, UP "address: \"[::]:8080\"\nhealth_address: none\n", {0}},
    {"as it should be", KUBERNETES, UP "address: \"[::]:8080\"\nhealth_address: \"[::]:9090\"\n", {0}},
};

static void warned(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_problems problems = {0};
        struct tg_settings s;
        size_t before, wanted = 0;

        if (!tg_settings_parse("t.yaml", tg_slice_str(cases[i].yaml), &s, &problems))
            fail_msg("%s: %s", cases[i].why, problems.items[0].text);
        before = problems.count;
        tg_container_warn(cases[i].where, &s, &problems);
        while (wanted < 2 && cases[i].warnings[wanted])
            wanted++;
        if (problems.count - before != wanted || problems.errors)
            fail_msg("%s: %zu problems instead of %zu", cases[i].why, problems.count - before, wanted);
        for (size_t j = 0; j < wanted; j++)
            if (!strstr(problems.items[before + j].text, cases[i].warnings[j]))
                fail_msg("%s: %s", cases[i].why, problems.items[before + j].text);
        tg_settings_fini(&s);
        tg_problems_fini(&problems);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(detected), cmocka_unit_test(warned)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
