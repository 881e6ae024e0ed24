/*
 * cmd_test - policies judged by the cases beside them: NAME.test.yaml for NAME.yaml.
 *
 * Every policy is judged alone, by the functions that serve requests. What cannot be read is an error of the files and
 * no failed case, and a folder in which nothing is tested is no success.
 */
#include "boot/commands.h"
#include "boot/options.h"
#include "plain.h"
#include "policy_test.h"
#include "terminal.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum { OPT_FORMAT = TG_OPT_FIRST_OWN, OPT_REQUIRE_TESTS, OPT_REQUIRE_COVERAGE };
static const struct tg_option options[] = {
    {OPT_FORMAT, 'f', "format", "text | tap | junit", "how to tell the outcome; text when not said"},
    {OPT_REQUIRE_TESTS, 0, "require-tests", NULL, "a policy without cases is a failure"},
    {OPT_REQUIRE_COVERAGE, 0, "require-coverage", NULL,
     "a criterion that was never true, or never false, is a failure"},
};
static const struct tg_usage usage = {
    .command = "test",
    .line = "[--format text | tap | junit] [--require-tests] [--require-coverage] DIR | FILE ...",
    .about =
        "Judges policies by their cases: of NAME.yaml (.yml, .json) those in NAME.test.yaml beside it. Of\n"
        "a DIR all policies are taken, and a FILE may be either of the two. Each policy is judged alone,\n"
        "as if no other were on the route. Failed cases are shown with their place, what came, and every\n"
        "criterion with the value it saw; policies without cases, and criteria that no case made true or\n"
        "none made false, are listed. Ends with 0 when all cases passed, 1 when one failed, 78 when a\n"
        "file cannot be read.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate test policies/\n"
                "  tollgate test --format junit --require-coverage policies/ > policies.xml",
};

typedef void (*reporter)(const struct test_report *report, struct tg_buf *out);
struct testing {
    struct tg_options o;
    reporter report;
    bool require_tests, require_coverage, text;
    char **paths;                                        /* of policies */
    size_t count, cap;
    bool broken;                                         /* something was not found */
};

static bool take_format(struct testing *t, const char *value)
{
    static const struct {
        const char *name;
        reporter report;
    } formats[] = {{"text", test_report_text}, {"tap", test_report_tap}, {"junit", test_report_junit}};

    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (strcmp(value, formats[i].name) == 0) {
            t->report = formats[i].report;
            t->text = i == 0;
            return true;
        }
    t->o.code = tg_usage_error(&usage, "--format: must be text, tap or junit, not \"%.40s\"", value);
    return false;
}

static bool read_options(struct testing *t, int argc, char **argv)
{
    const char *value;
    int id;

    t->report = test_report_text;
    t->text = true;
    tg_options_start(&t->o, &usage, argc, argv);
    while ((id = tg_options_next(&t->o, &value)) != TG_OPT_END) {
        if (id == TG_OPT_EXIT || (id == OPT_FORMAT && !take_format(t, value)))
            return false;
        t->require_tests |= id == OPT_REQUIRE_TESTS;
        t->require_coverage |= id == OPT_REQUIRE_COVERAGE;
    }
    if (t->o.operand < t->o.argc)
        return true;
    t->o.code = tg_usage_error(&usage, "which policies? Name a folder or files, as in: tollgate test policies/");
    return false;
}

/* ---- which files ---- */

static void complain(struct testing *t, const char *path, const char *why)
{
    struct tg_buf line = {0};

    tg_buf_addf(&line, "%s: %s", path, why);
    make_plain(&line, 0);
    fprintf(stderr, "%s\n", tg_buf_cstr(&line));
    tg_buf_fini(&line);
    t->broken = true;
}

static void add_path(struct testing *t, char *path)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->paths[i], path) == 0) {
            free(path);
            return;
        }
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 16;
        t->paths = tg_realloc(t->paths, t->cap * sizeof(*t->paths));
    }
    t->paths[t->count++] = path;
}

static char *join(struct tg_slice folder, struct tg_slice name, const char *ending)
{
    struct tg_buf text = {0};
    char *out;

    tg_buf_add_slice(&text, folder);
    if (folder.len > 0 && folder.ptr[folder.len - 1] != '/')
        tg_buf_addc(&text, '/');
    tg_buf_add_slice(&text, name);
    tg_buf_adds(&text, ending);
    out = tg_slice_dup(tg_buf_slice(&text));
    tg_buf_fini(&text);
    return out;
}

/* The policy that NAME.test.yaml is of. */
static void add_policy_of(struct testing *t, struct tg_slice folder, struct tg_slice stem, const char *cases)
{
    static const char *const endings[] = {".yaml", ".yml", ".json"};
    struct stat st;

    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        char *path = join(folder, stem, endings[i]);

        if (stat(path, &st) == 0) {
            add_path(t, path);
            return;
        }
        free(path);
    }
    complain(t, cases, "there is no policy beside these cases, with the ending .yaml, .yml or .json");
}

static void add_file(struct testing *t, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
    struct tg_slice stem;

    if (test_file_kind(tg_slice_str(path + folder), &stem) == TEST_FILE_CASES)
        add_policy_of(t, tg_slice(path, folder), stem, path);
    else
        add_path(t, tg_slice_dup(tg_slice_str(path)));
}

static int is_ours(const struct dirent *entry)
{
    struct tg_slice stem;

    return test_file_kind(tg_slice_str(entry->d_name), &stem) != TEST_FILE_NONE;
}

/* Sorted by name; cases without a policy are found too. */
static void add_folder(struct testing *t, const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_ours, alphasort);

    if (count < 0) {
        complain(t, folder, strerror(errno));
        return;
    }
    for (int i = 0; i < count; i++) {
        char *path = join(tg_slice_str(folder), tg_slice_str(entries[i]->d_name), "");

        add_file(t, path);
        free(path);
        free(entries[i]);
    }
    free(entries);
    if (count == 0)
        complain(t, folder, "holds no policy: no .yaml, .yml or .json file");
}

static void find_files(struct testing *t)
{
    struct stat st;

    for (int i = t->o.operand; i < t->o.argc; i++) {
        if (stat(t->o.argv[i], &st) != 0)
            complain(t, t->o.argv[i], strerror(errno));
        else if (S_ISDIR(st.st_mode))
            add_folder(t, t->o.argv[i]);
        else
            add_file(t, t->o.argv[i]);
    }
}

/* ---- all of them ---- */

static int outcome(const struct testing *t, const struct test_totals *sum)
{
    if (t->broken || sum->unreadable > 0)
        return TG_EXIT_CONFIG;
    if (sum->failed > 0 || (t->require_tests && sum->untested > 0) || (t->require_coverage && sum->uncovered > 0))
        return TG_EXIT_FAILURE;
    return TG_EXIT_OK;
}

static int run(struct testing *t)
{
    struct policy_test *tests = TG_NEW_ARRAY(struct policy_test, t->count + 1);
    struct test_report report = {tests, t->count, t->require_tests, t->require_coverage, false};
    struct tg_buf out = {0};
    int code, written = TG_EXIT_OK;

    report.colour = t->text && terminal_has_colour();
    for (size_t i = 0; i < t->count; i++) {
        policy_test_open(&tests[i], t->paths[i], report.colour);
        policy_test_run(&tests[i]);
        tg_problems_print(&tests[i].problems, true);
    }
    if (t->count > 0) {
        t->report(&report, &out);
        written = tg_put_out(&out);
    }
    struct test_totals sum = test_totals(&report);

    code = outcome(t, &sum);
    for (size_t i = 0; i < t->count; i++)
        policy_test_close(&tests[i]);
    free(tests);
    return code != TG_EXIT_OK ? code : written;
}

int tg_cmd_test(int argc, char **argv)
{
    struct testing t = {0};
    int code;

    if (read_options(&t, argc, argv)) {
        find_files(&t);
        code = run(&t);
    } else {
        code = t.o.code;
    }
    for (size_t i = 0; i < t.count; i++)
        free(t.paths[i]);
    free(t.paths);
    return code;
}
