/*
 * sync_page - lists of the API, page by page: bare arrays by limit and offset, envelopes by page.
 *
 * A list may change while it is read, and by offset an element that vanishes from an early page would hide another one.
 * So a bare page is asked for from the last known element on, and has to begin with it.
 */
#include "base/json.h"
#include "sync_internal.h"

#define DEPTH 64
#define NODES 4000000
#define ID_BYTES 256
#define SURELY_WHOLE 10                                  /* no server lets pages be no longer than that */

void sync_list_init(struct sync_list *list, bool by_page)
{
    *list = (struct sync_list){.items = cJSON_CreateArray(), .by_page = by_page, .total = -1};
    tg_assert(list->items);
}

void sync_list_fini(struct sync_list *list)
{
    cJSON_Delete(list->items);
    *list = (struct sync_list){0};
}

void sync_list_query(const struct sync_list *list, struct tg_buf *out)
{
    if (list->by_page)
        tg_buf_addf(out, "page=%llu&page_size=%llu", (unsigned long long)list->page + 1,
                    (unsigned long long)(list->page_size ? list->page_size : SYNC_PAGE_SIZE));
    else
        tg_buf_addf(out, "limit=%d&offset=%zu", SYNC_LIMIT, list->count ? list->count - 1 : 0);
}

/* ---- one answer ---- */

static enum tg_status parse(struct tg_slice body, size_t nodes, cJSON **out, struct tg_err *err)
{
    const struct tg_json_limits limits = {TG_SET_BYTES, DEPTH, (unsigned)nodes};
    struct tg_err why;

    if (tg_json_parse(body, &limits, out, &why) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "the answer is not JSON as it should be (%s)", tg_err_text(&why));
    return TG_OK;
}

enum tg_status sync_object_read(struct tg_slice body, cJSON **out, struct tg_err *err)
{
    cJSON *root = NULL;
    enum tg_status st = parse(body, NODES, &root, err);

    if (st == TG_OK && !cJSON_IsObject(root)) {
        cJSON_Delete(root);
        return tg_fail(err, TG_BAD_INPUT, "the answer is no JSON object");
    }
    if (st == TG_OK)
        *out = root;
    return st;
}

static struct tg_slice id_of(const cJSON *element)
{
    struct tg_slice id = {NULL, 0};

    tg_json_str(tg_json_get(element, "id"), &id);
    return id;
}

static enum tg_status check_elements(const cJSON *items, size_t *count, struct tg_err *err)
{
    const cJSON *element;
    size_t n = 0;

    cJSON_ArrayForEach(element, items) {
        struct tg_slice id = id_of(element);

        n++;
        if (!cJSON_IsObject(element))
            return tg_fail(err, TG_BAD_INPUT, "element %zu of the list is no object", n);
        if (id.len == 0 || id.len > ID_BYTES)
            return tg_fail(err, TG_BAD_INPUT, "element %zu of the list has no id", n);
    }
    *count = n;
    return TG_OK;
}

/* ---- bare arrays ---- */

/* The first of a later page is the last of the one before. */
static bool joins(const struct sync_list *list, const cJSON *items)
{
    const cJSON *last = list->items->child ? list->items->child->prev : NULL;

    return !last || (items->child && tg_slice_eq(id_of(items->child), id_of(last)));
}

/*
 * The end is a page that is not full. The first may be as long as the server lets any be: then that is what full means,
 * and the next one tells. One that is longer than was asked for is the whole list.
 */
static void take_bare(struct sync_list *list, size_t count)
{
    if (!list->full)
        list->full = count >= SURELY_WHOLE && count < SYNC_LIMIT ? count : SYNC_LIMIT;
    list->done = count < list->full || count > SYNC_LIMIT;
}

/* ---- envelopes: {"data", "total", "page", "page_size", "total_pages"} ---- */

static int64_t number_of(const cJSON *envelope, const char *name)
{
    int64_t n;

    return tg_json_int(tg_json_get(envelope, name), &n) && n >= 0 ? n : -1;
}

static enum tg_status take_envelope(struct sync_list *list, const cJSON *envelope, size_t count, struct tg_err *err)
{
    int64_t page = number_of(envelope, "page"), pages = number_of(envelope, "total_pages");
    int64_t total = number_of(envelope, "total"), size = number_of(envelope, "page_size");
    bool done;

    if (list->count > 0 && list->page == 0)
        return tg_fail(err, TG_BAD_INPUT, "the list is an array first and an object then");
    if (page >= 0 && (uint64_t)page != list->page + 1)
        return tg_fail(err, TG_BAD_INPUT, "page %lld came, %llu was asked for", (long long)page,
                       (unsigned long long)list->page + 1);
    if ((list->page > 0 && total != list->total) || (count == 0 && pages > (int64_t)list->page + 1))
        return tg_fail(err, TG_AGAIN, "the list changes while it is read");
    size = size > 0 ? size : SYNC_PAGE_SIZE;
    done = pages >= 0 ? (int64_t)list->page + 1 >= pages : (int64_t)count < size;
    if (done && total >= 0 && (uint64_t)total != list->count + count)
        return tg_fail(err, TG_AGAIN, "the list has %zu elements, and says that it has %lld", list->count + count,
                       (long long)total);
    list->by_page = true;
    list->page++;
    list->total = total;
    list->page_size = (uint64_t)size;
    list->done = done;
    return TG_OK;
}

/* ---- growing ---- */

static void append(struct sync_list *list, cJSON *items, bool overlaps)
{
    cJSON *element;

    if (overlaps)
        cJSON_Delete(cJSON_DetachItemViaPointer(items, items->child));
    while ((element = items->child)) {
        cJSON_DetachItemViaPointer(items, element);
        cJSON_AddItemToArray(list->items, element);
        list->count++;
    }
}

static enum tg_status take(struct sync_list *list, cJSON *root, struct tg_err *err)
{
    cJSON *items = cJSON_IsArray(root) ? root : cJSON_GetObjectItemCaseSensitive(root, "data");
    bool overlaps = items == root && list->count > 0;
    enum tg_status st;
    size_t count = 0;

    if (!cJSON_IsArray(items))
        return tg_fail(err, TG_BAD_INPUT, "the answer is neither a list nor an object with the list `data`");
    st = check_elements(items, &count, err);
    if (st == TG_OK && list->count + count > SYNC_ELEMENTS)
        st = tg_fail(err, TG_LIMIT, "the list has more than %d elements", SYNC_ELEMENTS);
    if (st == TG_OK && items == root && list->page > 0)
        st = tg_fail(err, TG_BAD_INPUT, "the list is an object first and an array then");
    if (st == TG_OK && overlaps && !joins(list, items))
        st = tg_fail(err, TG_AGAIN, "the list changes while it is read, or `offset` is not honoured");
    if (st == TG_OK && items != root)
        st = take_envelope(list, root, count, err);
    if (st != TG_OK)
        return st;
    if (items == root) {
        list->by_page = false;
        take_bare(list, count);
    }
    append(list, items, overlaps);
    return TG_OK;
}

/* As many as a document of these octets may have, or more: a node costs far more memory than it has octets. */
static size_t nodes_at_most(struct tg_slice body)
{
    size_t n = 1;

    for (size_t i = 0; i < body.len; i++)
        n += body.ptr[i] == ',' || body.ptr[i] == '[' || body.ptr[i] == '{';
    return n;
}

enum tg_status sync_list_take(struct sync_list *list, struct tg_slice body, struct tg_err *err)
{
    cJSON *root = NULL;
    enum tg_status st;

    if (list->nodes >= NODES)
        return tg_fail(err, TG_LIMIT, "the list is larger than a set may be");
    st = parse(body, NODES - list->nodes, &root, err);
    list->nodes += nodes_at_most(body);
    if (st == TG_OK)
        st = take(list, root, err);
    cJSON_Delete(root);
    return st;
}
