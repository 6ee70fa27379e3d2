/* config_yaml.c - see config_yaml.h. */
#include "serve/config_yaml.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

enum { DEPTH_MAX = 8, KEY_MAX = 128, SHOWN_MAX = 40 };

struct vd_yaml {
    const char *path;
    yaml_document_t document;
};

static size_t line_of(yaml_mark_t mark)
{
    return mark.line + 1;
}

static vd_status fail_at(const char *path, size_t line, const char *key, vd_err *err,
                         const char *fmt, ...) VD_PRINTF(5, 6);
static vd_status fail_at(const char *path, size_t line, const char *key, vd_err *err,
                         const char *fmt, ...)
{
    char what[VD_ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    return VD_FAIL(err, VD_ERR_FORMAT, "%s:%zu: %s%s%s; examples/verdant.yaml shows every key",
                   path, line, key, key[0] != '\0' ? ": " : "", what);
}

/* ---- the text as such ------------------------------------------------------------------------*/

static vd_status fail_syntax(const char *path, const yaml_parser_t *parser, vd_err *err)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return VD_FAIL(err, VD_ERR_NOMEM, "%s: no memory for the configuration", path);
    return fail_at(path, line_of(parser->problem_mark), "", err, "no valid YAML: %s",
                   parser->problem != NULL ? parser->problem : "its encoding is broken");
}

/* One event: *depth and *n_documents move on, and what is never taken is refused. */
static vd_status look_at(const char *path, const yaml_event_t *event, int *depth, int *n_documents,
                         vd_err *err)
{
    size_t line = line_of(event->start_mark);
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return fail_at(path, line, "", err, "aliases (*%.*s) are not taken", SHOWN_MAX,
                       (const char *)event->data.alias.anchor);
    case YAML_DOCUMENT_START_EVENT:
        if (++*n_documents > 1)
            return fail_at(path, line, "", err, "a second document begins here; one is taken");
        return VD_OK;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++*depth > DEPTH_MAX)
            return fail_at(path, line, "", err, "nested deeper than %d levels", DEPTH_MAX);
        return VD_OK;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        --*depth;
        return VD_OK;
    default:
        return VD_OK;
    }
}

/* Reads the events once: what is wrong here is said before anything is built or expanded. */
static vd_status scan(const char *path, const char *text, size_t n, vd_err *err)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0)
        return VD_FAIL(err, VD_ERR_NOMEM, "%s: no memory for the configuration", path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    vd_status st = VD_OK;
    int depth = 0, n_documents = 0;
    for (bool ended = false; st == VD_OK && !ended;) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) == 0) {
            st = fail_syntax(path, &parser, err);
            break;
        }
        ended = event.type == YAML_STREAM_END_EVENT;
        st = look_at(path, &event, &depth, &n_documents, err);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (st == VD_OK && n_documents == 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s: the file is empty; examples/verdant.yaml shows every "
                     "key", path);
    return st;
}

/* ---- the text against the schema -------------------------------------------------------------*/

typedef struct checker {
    yaml_document_t *document;
    const char *path;
    vd_err *err;
} checker;

static const char *kind_of(const yaml_node_t *node)
{
    return node->type == YAML_SEQUENCE_NODE  ? "a list"
           : node->type == YAML_MAPPING_NODE ? "a group of keys"
                                             : "a single value";
}

static const char *scalar(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

/* Nothing behind the colon, or one of YAML's words for it. */
static bool is_null(const yaml_node_t *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < VD_COUNT(words); i++)
        if (strcmp(scalar(node), words[i]) == 0)
            return true;
    return false;
}

static bool is_count(const char *text)
{
    size_t n = strlen(text);
    return n > 0 && n <= 10 && strspn(text, "0123456789") == n && (n == 1 || text[0] != '0') &&
           strtoull(text, NULL, 10) <= UINT32_MAX;
}

static bool is_decimal(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(value) &&
           strspn(text, "0123456789.+-eE") == strlen(text);
}

static bool is_bool(const char *text)
{
    static const char *const words[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    for (size_t i = 0; i < VD_COUNT(words); i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

static vd_status check_scalar(checker *c, const yaml_node_t *node, const char *key,
                              const cyaml_schema_value_t *schema)
{
    const char *wanted = NULL, *text = node->type == YAML_SCALAR_NODE ? scalar(node) : "";
    size_t line = line_of(node->start_mark), n = strlen(text);
    bool good = node->type == YAML_SCALAR_NODE && n == node->data.scalar.length;
    if (schema->type == CYAML_UINT) {
        wanted = "a whole number from 0";
        good = good && is_count(text);
    } else if (schema->type == CYAML_FLOAT) {
        wanted = "a number";
        good = good && is_decimal(text);
    } else if (schema->type == CYAML_BOOL) {
        wanted = "true or false";
        good = good && is_bool(text);
    } else {
        wanted = "a text";
        if (good && n < schema->string.min)
            return fail_at(c->path, line, key, c->err, "is empty");
        if (good && n > schema->string.max)
            return fail_at(c->path, line, key, c->err, "is longer than %u bytes",
                           schema->string.max);
    }
    if (good)
        return VD_OK;
    if (node->type != YAML_SCALAR_NODE)
        return fail_at(c->path, line, key, c->err, "must be %s, not %s", wanted, kind_of(node));
    return fail_at(c->path, line, key, c->err, "must be %s, not '%.*s'", wanted, SHOWN_MAX, text);
}

static const cyaml_schema_field_t *find_field(const cyaml_schema_field_t *fields, const char *name)
{
    while (fields->key != NULL && strcmp(fields->key, name) != 0)
        fields++;
    return fields->key != NULL ? fields : NULL;
}

static yaml_node_t *node_at(yaml_document_t *document, int index)
{
    return yaml_document_get_node(document, index);
}

/* The pair of this name, or NULL. */
static const yaml_node_pair_t *find_pair(yaml_document_t *document, const yaml_node_t *mapping,
                                         const char *name, size_t n)
{
    const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
    for (; pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *node = node_at(document, pair->key);
        if (node->type == YAML_SCALAR_NODE && node->data.scalar.length == n &&
            memcmp(scalar(node), name, n) == 0)
            return pair;
    }
    return NULL;
}

static vd_status check_value(checker *c, const yaml_node_t *node, const char *key,
                             const cyaml_schema_value_t *schema);

static vd_status check_mapping(checker *c, const yaml_node_t *node, const char *key,
                               const cyaml_schema_field_t *fields)
{
    const char *dot = key[0] != '\0' ? "." : "";
    char inner[KEY_MAX];
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = node_at(c->document, pair->key);
        size_t line = line_of(name->start_mark);
        if (name->type != YAML_SCALAR_NODE)
            return fail_at(c->path, line, key, c->err, "a key must be a word, not %s",
                           kind_of(name));
        snprintf(inner, sizeof(inner), "%s%s%.*s", key, dot, SHOWN_MAX, scalar(name));
        const cyaml_schema_field_t *field = find_field(fields, scalar(name));
        if (field == NULL)
            return fail_at(c->path, line, inner, c->err, "there is no such key");
        if (find_pair(c->document, node, scalar(name), name->data.scalar.length) != pair)
            return fail_at(c->path, line, inner, c->err, "stands here for the second time");
        vd_status st = check_value(c, node_at(c->document, pair->value), inner, &field->value);
        if (st != VD_OK)
            return st;
    }
    for (; fields->key != NULL; fields++)
        if ((fields->value.flags & CYAML_FLAG_OPTIONAL) == 0 &&
            find_pair(c->document, node, fields->key, strlen(fields->key)) == NULL)
            return fail_at(c->path, line_of(node->start_mark), key, c->err, "'%s' is missing",
                           fields->key);
    return VD_OK;
}

static vd_status check_sequence(checker *c, const yaml_node_t *node, const char *key,
                                const cyaml_schema_value_t *schema)
{
    const yaml_node_item_t *item = node->data.sequence.items.start;
    size_t n = (size_t)(node->data.sequence.items.top - item);
    if (n > schema->sequence.max)
        return fail_at(c->path, line_of(node->start_mark), key, c->err,
                       "has %zu entries; at most %u are taken", n, schema->sequence.max);
    for (size_t i = 0; i < n; i++) {
        char inner[KEY_MAX];
        snprintf(inner, sizeof(inner), "%s[%zu]", key, i);
        vd_status st =
            check_value(c, node_at(c->document, item[i]), inner, schema->sequence.entry);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

/* Recursion follows the schema, so it is as deep as that. */
static vd_status check_value(checker *c, const yaml_node_t *node, const char *key,
                             const cyaml_schema_value_t *schema)
{
    size_t line = line_of(node->start_mark);
    if (is_null(node))
        return fail_at(c->path, line, key, c->err, "has no value; without the key its default is "
                       "taken");
    if (schema->type == CYAML_MAPPING) {
        if (node->type != YAML_MAPPING_NODE)
            return fail_at(c->path, line, key, c->err, "must be a group of keys, not %s",
                           kind_of(node));
        return check_mapping(c, node, key, schema->mapping.fields);
    }
    if (schema->type == CYAML_SEQUENCE) {
        if (node->type != YAML_SEQUENCE_NODE)
            return fail_at(c->path, line, key, c->err, "must be a list, not %s", kind_of(node));
        return check_sequence(c, node, key, schema);
    }
    return check_scalar(c, node, key, schema);
}

/* ---- from outside ----------------------------------------------------------------------------*/

static vd_status load(vd_yaml *yaml, const char *text, size_t n, vd_err *err)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0)
        return VD_FAIL(err, VD_ERR_NOMEM, "%s: no memory for the configuration", yaml->path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    vd_status st = VD_OK;
    if (yaml_parser_load(&parser, &yaml->document) == 0) {
        st = fail_syntax(yaml->path, &parser, err);
        yaml->document = (yaml_document_t){0};
    }
    yaml_parser_delete(&parser);
    return st;
}

vd_status vd_yaml_check(const char *path, const char *text, size_t n,
                        const cyaml_schema_value_t *schema, vd_yaml **ret_yaml, vd_err *err)
{
    vd_yaml *yaml = NULL;
    vd_status st = scan(path, text, n, err);
    if (st != VD_OK)
        return st;
    st = vd_alloc_array(1, sizeof(*yaml), "a configuration", &yaml, err);
    if (st != VD_OK)
        return st;
    yaml->path = path;
    st = load(yaml, text, n, err);
    if (st != VD_OK)
        goto out;
    checker c = {.document = &yaml->document, .path = path, .err = err};
    const yaml_node_t *root = yaml_document_get_root_node(&yaml->document);
    if (root == NULL || is_null(root))
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s: the file is empty; examples/verdant.yaml shows every "
                     "key", path);
    else
        st = check_value(&c, root, "", schema);
    if (st != VD_OK)
        goto out;
    *ret_yaml = yaml;
    yaml = NULL;
out:
    vd_yaml_free(yaml);
    return st;
}

void vd_yaml_free(vd_yaml *yaml)
{
    if (yaml == NULL)
        return;
    yaml_document_delete(&yaml->document);
    vd_free(yaml);
}

size_t vd_yaml_line(const vd_yaml *yaml, const char *key)
{
    yaml_document_t *document = (yaml_document_t *)&yaml->document; /* libyaml knows no const */
    const yaml_node_t *node = yaml_document_get_root_node(document);
    size_t line = 0;
    for (const char *at = key; *at != '\0' && node != NULL;) {
        if (*at == '[' && node->type == YAML_SEQUENCE_NODE) {
            char *end;
            size_t i = strtoul(at + 1, &end, 10);
            const yaml_node_item_t *item = node->data.sequence.items.start;
            if (*end != ']' || i >= (size_t)(node->data.sequence.items.top - item))
                return 0;
            node = node_at(document, item[i]);
            line = line_of(node->start_mark);
            at = end + 1;
        } else {
            at += *at == '.';
            size_t n = strcspn(at, ".[");
            const yaml_node_pair_t *pair = node->type == YAML_MAPPING_NODE
                                               ? find_pair(document, node, at, n)
                                               : NULL;
            if (pair == NULL)
                return 0;
            line = line_of(node_at(document, pair->key)->start_mark);
            node = node_at(document, pair->value);
            at += n;
        }
    }
    return line;
}

vd_status vd_yaml_fail(const vd_yaml *yaml, const char *key, vd_err *err, const char *fmt, ...)
{
    char what[VD_ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    return VD_FAIL(err, VD_ERR_FORMAT, "%s:%zu: %s: %s", yaml->path, vd_yaml_line(yaml, key), key,
                   what);
}
