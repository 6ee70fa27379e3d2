/* cmd_tokenize.c - `verdant tokenize`: text to token ids, and ids to text. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <verdant/tokenizer.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/utf8.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "model/store.h"

enum { INPUT_BYTES_MAX = 1 << 30 };

typedef struct arguments {
    const char *model, *file;
    char **rest; /* what stands behind MODEL */
    int n_rest;
    bool plain, json, decode;
} arguments;

/* text[0..n) inside a JSON string: escaped, and U+FFFD for bytes that are not UTF-8. */
static void append_json_text(vd_buf *out, const char *text, size_t n)
{
    vd_buf_putc(out, '"');
    for (size_t i = 0; i < n;) {
        uint32_t code;
        int length = vd_utf8_decode(text + i, n - i, &code);
        if (length <= 0)
            vd_buf_puts(out, "\\ufffd");
        else if (code == '"' || code == '\\')
            vd_buf_printf(out, "\\%c", (int)code);
        else if (code < 0x20)
            vd_buf_printf(out, "\\u%04x", (unsigned)code);
        else
            vd_buf_append(out, text + i, (size_t)length);
        i += length > 0 ? (size_t)length : 1;
    }
    vd_buf_putc(out, '"');
}

static vd_status print_buf(const vd_buf *out, vd_err *err)
{
    vd_status st = vd_buf_status(out, "the output", err);
    if (st == VD_OK)
        fwrite(vd_buf_text(out), 1, out->n, stdout);
    return st;
}

static vd_status print_ids(const vd_tokenizer *tokenizer, const int32_t *ids, size_t n, bool json,
                           vd_err *err)
{
    vd_buf out;
    vd_buf_init(&out, SIZE_MAX / 2);
    if (json)
        vd_buf_puts(&out, "{\"ids\":[");
    else
        vd_buf_printf(&out, "%8s  %s\n", "id", "piece");
    for (size_t i = 0; i < n; i++) {
        if (json) {
            vd_buf_printf(&out, i == 0 ? "%d" : ",%d", ids[i]);
            continue;
        }
        size_t n_piece;
        const char *piece = vd_tokenizer_piece(tokenizer, ids[i], true, &n_piece);
        vd_buf_printf(&out, "%8d  ", ids[i]);
        append_json_text(&out, piece, n_piece);
        vd_buf_putc(&out, '\n');
    }
    if (json)
        vd_buf_puts(&out, "]}\n");
    else
        vd_buf_printf(&out, "%zu tokens\n", n);
    vd_status st = print_buf(&out, err);
    vd_buf_done(&out);
    return st;
}

static vd_status encode(const vd_tokenizer *tokenizer, const arguments *args, vd_err *err)
{
    char *text = NULL;
    int32_t *ids = NULL;
    size_t n = 0, n_ids = 0;
    vd_status st = VD_OK;
    if (args->file != NULL)
        st = vd_file_read(args->file, INPUT_BYTES_MAX, &text, &n, err);
    else
        n = strlen(args->rest[0]);
    const vd_encode_options options = {.no_bos_eos = args->plain, .parse_special = !args->plain};
    if (st == VD_OK)
        st = vd_tokenizer_encode(tokenizer, text != NULL ? text : n > 0 ? args->rest[0] : "", n,
                                 &options, &ids, &n_ids, err);
    if (st == VD_OK)
        st = print_ids(tokenizer, ids, n_ids, args->json, err);
    vd_ids_free(ids);
    vd_free(text);
    return st;
}

/* Reads the numbers of a text such as "1 2,3" or {"ids":[1,2,3]} and appends them. */
static vd_status parse_ids(const char *text, vd_buf *ids, vd_err *err)
{
    const char *list = strchr(text, '[');
    for (const char *at = list != NULL ? list + 1 : text; *at != '\0';) {
        if (strchr(" \t\r\n,", *at) != NULL) {
            at++;
            continue;
        }
        if (list != NULL && *at == ']')
            return VD_OK;
        char *end;
        errno = 0;
        long value = strtol(at, &end, 10);
        if (end == at || errno != 0 || value < INT32_MIN || value > INT32_MAX ||
            (*end != '\0' && strchr(" \t\r\n,]", *end) == NULL))
            return VD_FAIL(err, VD_ERR_ARG, "'%.40s' is not a token id", at);
        int32_t id = (int32_t)value;
        vd_buf_append(ids, &id, sizeof(id));
        at = end;
    }
    return VD_OK;
}

static vd_status decode(const vd_tokenizer *tokenizer, const arguments *args, vd_err *err)
{
    char *list = NULL, *text = NULL;
    size_t n = 0;
    vd_buf ids, out;
    vd_buf_init(&ids, SIZE_MAX / 2);
    vd_buf_init(&out, SIZE_MAX / 2);
    vd_status st = VD_OK;
    if (args->file != NULL) {
        st = vd_file_read(args->file, INPUT_BYTES_MAX, &list, &n, err);
        if (st == VD_OK)
            st = parse_ids(list, &ids, err);
    }
    for (int i = 0; st == VD_OK && args->file == NULL && i < args->n_rest; i++)
        st = parse_ids(args->rest[i], &ids, err);
    if (st == VD_OK)
        st = vd_buf_status(&ids, "the list of ids", err);
    if (st == VD_OK) /* vd_alloc aligns the bytes for int32_t */
        st = vd_tokenizer_decode(tokenizer, (const int32_t *)(const void *)ids.data,
                                 ids.n / sizeof(int32_t), !args->plain, &text, &n, err);
    if (st != VD_OK)
        goto out;
    if (args->json) {
        vd_buf_puts(&out, "{\"text\":");
        append_json_text(&out, text, n);
        vd_buf_puts(&out, "}\n");
        st = print_buf(&out, err);
    } else {
        fwrite(text, 1, n, stdout);
    }
out:
    vd_buf_done(&out);
    vd_buf_done(&ids);
    vd_text_free(text);
    vd_free(list);
    return st;
}

static int tokenize_main(int argc, char **argv)
{
    enum { OPT_FILE = 256, OPT_PLAIN, OPT_JSON, OPT_DECODE };
    static const struct option options[] = {
        {"file", required_argument, NULL, OPT_FILE}, {"plain", no_argument, NULL, OPT_PLAIN},
        {"json", no_argument, NULL, OPT_JSON},       {"decode", no_argument, NULL, OPT_DECODE},
        {NULL, 0, NULL, 0},
    };
    arguments args = {0};
    for (int c; (c = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        switch (c) {
        case OPT_FILE:
            args.file = optarg;
            break;
        case OPT_PLAIN:
            args.plain = true;
            break;
        case OPT_JSON:
            args.json = true;
            break;
        case OPT_DECODE:
            args.decode = true;
            break;
        default:
            return vd_cli_bad_option("tokenize", c, argv);
        }
    }
    if (optind == argc)
        return vd_cli_misuse("tokenize", "which model?");
    args.model = argv[optind];
    args.rest = argv + optind + 1;
    args.n_rest = argc - optind - 1;
    if (args.file != NULL && args.n_rest > 0)
        return vd_cli_misuse("tokenize", "both --file and '%s': one of the two", args.rest[0]);
    if (args.file == NULL && args.n_rest == 0)
        return vd_cli_misuse("tokenize", args.decode ? "which ids?" : "which text?");
    if (!args.decode && args.n_rest > 1)
        return vd_cli_misuse("tokenize", "more than one text: put it in quotes");

    vd_err err = {0};
    vd_tokenizer *tokenizer = NULL;
    char *path = NULL;
    vd_status st = vd_store_resolve(args.model, &path, &err);
    if (st == VD_OK)
        st = vd_tokenizer_open(path, &tokenizer, &err);
    if (st == VD_OK)
        st = args.decode ? decode(tokenizer, &args, &err) : encode(tokenizer, &args, &err);
    vd_tokenizer_free(tokenizer);
    vd_free(path);
    return st == VD_OK ? VD_EXIT_OK : vd_cli_failed("tokenize", &err);
}

const vd_command vd_cmd_tokenize = {
    .name = "tokenize",
    .summary = "turn text into token ids, or ids into text",
    .help =
        "usage: verdant tokenize MODEL (TEXT | --file F) [--plain] [--json]\n"
        "       verdant tokenize MODEL --decode (ID... | --file F) [--plain] [--json]\n"
        "\n"
        "Prints the token ids of a text and the piece of text each stands for, by the\n"
        "vocabulary inside MODEL (a stored model's name or a GGUF file; one without\n"
        "weights will do).\n"
        "\n"
        "  --file F    read the text (or the ids) from F; - is standard input\n"
        "  --plain     add no BOS or EOS and read no special tokens; with --decode,\n"
        "              print none\n"
        "  --json      print {\"ids\":[...]}, or {\"text\":\"...\"} with --decode\n"
        "  --decode    turn ids back into text, exactly, with no newline added\n"
        "\n"
        "Example:\n"
        "  verdant tokenize model.gguf 'Hello, world' --json\n"
        "  verdant tokenize model.gguf --decode 19556 28 905\n",
    .main = tokenize_main,
};
