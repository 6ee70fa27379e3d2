/* journal.c - see journal.h. */
#include "compress/search/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strmap.h"

enum { BYTES_MAX = 256 << 20 };

typedef struct line {
    char *key;
    double number[VD_JOURNAL_NUMBERS];
} line;

struct vd_journal {
    char *path;
    int fd;
    line *line;
    size_t n, capacity, n_found;
    vd_strmap key; /* of lines: their place */
    bool was_other;
};

static vd_status failed(const vd_journal *j, const char *what, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_IO, "%s: %s: %s", j->path, what, strerror(errno));
}

static vd_status remember(vd_journal *j, const char *key, const double *number, vd_err *err)
{
    if (j->n == j->capacity) {
        size_t capacity = j->capacity * 2 + 64;
        line *more = vd_realloc(j->line, capacity * sizeof(*more));
        if (more == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu measurements", capacity);
        j->line = more;
        j->capacity = capacity;
    }
    line *one = &j->line[j->n];
    one->key = vd_strdup(key);
    if (one->key == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a measurement");
    memcpy(one->number, number, sizeof(one->number));
    j->n++;
    return vd_strmap_put(&j->key, one->key, strlen(key), (uint32_t)(j->n - 1), NULL, err);
}

/* A line but the first: {"key": [numbers]}. */
static bool parse_line(const char *text, size_t n, char **ret_key, double *number)
{
    json_t *root = NULL;
    vd_err err = {0};
    bool good = false;
    if (vd_json_parse(text, n, &root, &err) != VD_OK)
        return false;
    void *at = json_object_iter(root);
    const json_t *numbers = at != NULL ? json_object_iter_value(at) : NULL;
    if (json_object_size(root) == 1 && json_array_size(numbers) == VD_JOURNAL_NUMBERS) {
        good = true;
        for (size_t i = 0; i < VD_JOURNAL_NUMBERS; i++) {
            const json_t *value = json_array_get(numbers, i);
            number[i] = (double)(float)json_number_value(value);
            good = good && json_is_number(value) && isfinite(number[i]);
        }
        *ret_key = good ? vd_strdup(json_object_iter_key(at)) : NULL;
    }
    json_decref(root);
    return good && *ret_key != NULL;
}

static vd_status start(vd_journal *j, const char *first, vd_err *err)
{
    size_t n = strlen(first);
    if (ftruncate(j->fd, 0) != 0 || lseek(j->fd, 0, SEEK_SET) < 0 ||
        !vd_fd_write(j->fd, first, n) || fdatasync(j->fd) != 0)
        return failed(j, "cannot be written", err);
    return VD_OK;
}

/* text[0..n) is what the file holds. */
static vd_status read_lines(vd_journal *j, const char *text, size_t n, const char *first,
                            vd_err *err)
{
    const char *end = n > 0 ? memrchr(text, '\n', n) : NULL;
    size_t n_whole = end != NULL ? (size_t)(end - text) + 1 : 0, at = strlen(first), number = 1;
    vd_status st = VD_OK;
    static const char begin[] = "{\"search\":\"";
    if (memcmp(text, begin, VD_MIN(n, sizeof(begin) - 1)) != 0)
        return VD_FAIL(err, VD_ERR_ARG, "%s is in the way: it is no journal of a search, which "
                       "would be kept there", j->path);
    if (n_whole < at || memcmp(text, first, at) != 0) {
        j->was_other = n_whole > 0;
        return start(j, first, err);
    }
    while (st == VD_OK && at < n_whole) {
        const char *next = memchr(text + at, '\n', n_whole - at);
        size_t length = (size_t)(next - text) - at;
        double numbers[VD_JOURNAL_NUMBERS];
        char *key = NULL;
        number++;
        if (!parse_line(text + at, length, &key, numbers))
            st = VD_FAIL(err, VD_ERR_FORMAT, "%s: line %zu is damaged; remove the file to begin "
                         "the search anew", j->path, number);
        else
            st = remember(j, key, numbers, err);
        vd_free(key);
        at += length + 1;
    }
    j->n_found = j->n;
    if (st == VD_OK && (ftruncate(j->fd, (off_t)n_whole) != 0 || lseek(j->fd, 0, SEEK_END) < 0))
        st = failed(j, "cannot be written", err);
    return st;
}

vd_status vd_journal_open(const char *path, const char *about, vd_journal **ret_journal,
                          vd_err *err)
{
    vd_journal *j = NULL;
    vd_buf first;
    char *text = NULL;
    size_t n = 0;
    vd_buf_init(&first, 1 << 20);
    vd_status st = vd_alloc_array(1, sizeof(*j), "the journal of a search", &j, err);
    if (st != VD_OK)
        return st;
    json_t *root = json_pack("{s:s}", "search", about);
    char *about_text = vd_json_text(root);
    json_decref(root);
    j->path = vd_strdup(path);
    j->fd = -1;
    vd_buf_puts(&first, about_text != NULL ? about_text : "");
    vd_buf_putc(&first, '\n');
    st = vd_buf_status(&first, "the journal of a search", err);
    if (st == VD_OK && (about_text == NULL || j->path == NULL))
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the journal of a search");
    if (st == VD_OK) {
        j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (j->fd < 0)
            st = failed(j, "cannot be written", err);
        else if (flock(j->fd, LOCK_EX | LOCK_NB) != 0)
            st = VD_FAIL(err, VD_ERR_BUSY, "%s: another search is at work on it", path);
    }
    if (st == VD_OK)
        st = vd_file_read(path, BYTES_MAX, &text, &n, err);
    if (st == VD_OK)
        st = read_lines(j, text, n, vd_buf_text(&first), err);
    if (st == VD_OK) {
        *ret_journal = j;
        j = NULL;
    }
    vd_journal_free(j);
    vd_free(text);
    vd_free(about_text);
    vd_buf_done(&first);
    return st;
}

void vd_journal_free(vd_journal *j)
{
    if (j == NULL)
        return;
    if (j->fd >= 0)
        close(j->fd);
    for (size_t i = 0; i < j->n; i++)
        vd_free(j->line[i].key);
    vd_free(j->line);
    vd_strmap_done(&j->key);
    vd_free(j->path);
    vd_free(j);
}

void vd_journal_remove(vd_journal *j)
{
    unlink(j->path);
}

size_t vd_journal_n(const vd_journal *j)
{
    return j->n_found;
}

bool vd_journal_was_other(const vd_journal *j)
{
    return j->was_other;
}

bool vd_journal_find(const vd_journal *j, const char *key, double ret_number[VD_JOURNAL_NUMBERS])
{
    uint32_t place;
    if (!vd_strmap_get(&j->key, key, strlen(key), &place))
        return false;
    memcpy(ret_number, j->line[place].number, sizeof(j->line[place].number));
    return true;
}

vd_status vd_journal_add(vd_journal *j, const char *key, double number[VD_JOURNAL_NUMBERS],
                         vd_err *err)
{
    json_t *numbers = json_array(), *root = json_object();
    for (size_t i = 0; i < VD_JOURNAL_NUMBERS; i++) {
        number[i] = (double)(float)number[i];
        (void)json_array_append_new(numbers, json_real(number[i]));
    }
    bool whole = json_array_size(numbers) == VD_JOURNAL_NUMBERS &&
                 json_object_set(root, key, numbers) == 0;
    char *text = whole ? vd_json_text(root) : NULL;
    vd_buf one;
    vd_buf_init(&one, 1 << 20);
    vd_buf_puts(&one, text != NULL ? text : "");
    vd_buf_putc(&one, '\n');
    vd_status st = text != NULL ? vd_buf_status(&one, "a measurement", err)
                                : VD_FAIL(err, VD_ERR_NOMEM, "no memory for a measurement");
    if (st == VD_OK)
        st = remember(j, key, number, err);
    if (st == VD_OK && (!vd_fd_write(j->fd, one.data, one.n) || fdatasync(j->fd) != 0))
        st = failed(j, "cannot be written", err);
    vd_buf_done(&one);
    vd_free(text);
    json_decref(numbers);
    json_decref(root);
    return st;
}
