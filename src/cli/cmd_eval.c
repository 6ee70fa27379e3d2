/* cmd_eval.c - `verdant eval`: its options. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/eval.h"
#include "cli/format.h"

static const char help[] =
    "usage: verdant eval MODEL --text FILE [options]\n"
    "       verdant eval MODEL --task FILE [options]\n"
    "\n"
    "--text: perplexity, counted as llama.cpp counts it so that figures compare: consecutive\n"
    "chunks of --ctx tokens, the second half of each scored. With --against also how far it is\n"
    "from a base model: KL(base || MODEL) in nats, its mean and what 99 % of the positions stay\n"
    "below, and how often both find the same token likeliest.\n"
    "\n"
    "  --text FILE         the text, UTF-8 (- reads standard input)\n"
    "  --ctx N             tokens per chunk, even; default 512\n"
    "  --chunks N          how many chunks; default all\n"
    "  --against BASE      a second model with the same vocabulary\n"
    "  --base-precision W  exact or fast for BASE; default exact\n"
    "  --base-kv TYPE      keys and values of BASE; default as --kv\n"
    "\n"
    "--task: how often the model finds the right choice of a question likeliest, by the sum of\n"
    "its tokens' log-probabilities and by their mean (norm: llama.cpp's HellaSwag score).\n"
    "\n"
    "  --task FILE         JSON lines {\"question\":TEXT,\"choices\":[TEXT,...],\"answer\":I}, or\n"
    "                      {\"centerpiece\",\"options\",\"correct_options_idx\"} (ARC, PIQA), or\n"
    "                      HellaSwag's text of six lines a task; bzip2 is unpacked\n"
    "  --limit N           the first N tasks; default all\n"
    "  --draw              N tasks as llama-perplexity --hellaswag-tasks N draws them\n"
    "  --format FORMAT     plain (QUESTION CHOICE) or qa (Question: QUESTION\\nAnswer: CHOICE);\n"
    "                      default qa for centerpiece, else plain\n"
    "  --scores FILE       every task's log-probabilities as JSON lines\n"
    "\n"
    "Both:\n"
    "  --precision WORD    exact (f32 activations) or fast; default fast\n"
    "  --kv TYPE           keys and values as f16, bf16, f32, q8_0 or q4_0; default f16\n"
    "  -t, --threads N     default: one per core\n"
    "  --json              {\"ppl\":...,\"ppl_stderr\":...,\"n_tokens\":...,\"kl_mean\":...,\n"
    "                      \"kl_99\":...,\"top1_agreement\":...,\"top1_stderr\":...} or\n"
    "                      {\"accuracy\":...,\"stderr\":...,\"accuracy_norm\":...,\n"
    "                      \"stderr_norm\":...,\"n\":...,\"chance\":...};\n"
    "                      both with the fields of a run record, for verdant report\n"
    "\n"
    "Example:\n"
    "  verdant eval smollm2 --text wiki.test.raw --ctx 512 --chunks 50\n"
    "  verdant eval smollm2 --task hellaswag_val_full.txt.bz2 --draw --limit 400\n";

enum { CTX_MAX = 1 << 20 };

static bool parse_format(const char *word, vd_task_format *ret)
{
    bool qa = false;
    if (!vd_cli_parse_word("eval", "--format", word, "plain", "qa", &qa))
        return false;
    *ret = qa ? VD_TASK_FORMAT_QA : VD_TASK_FORMAT_PLAIN;
    return true;
}

/* What belongs to a text and what to tasks; false with a message. */
static bool check(const vd_eval_args *a, bool text_option, bool task_option, bool base_option)
{
    const char *what = NULL;
    if ((a->text != NULL) == (a->task != NULL))
        what = "one of --text and --task is needed";
    else if (a->task != NULL && text_option)
        what = "--ctx, --chunks, --against, --base-precision and --base-kv belong to --text";
    else if (a->text != NULL && task_option)
        what = "--limit, --draw, --format and --scores belong to --task";
    else if (base_option && a->against == NULL)
        what = "--base-precision and --base-kv say how the BASE of --against is read";
    if (what != NULL)
        vd_cli_misuse("eval", "%s", what);
    return what == NULL;
}

static bool parse(int argc, char **argv, vd_eval_args *a)
{
    static const struct option options[] = {{"text", required_argument, NULL, 'x'},
                                            {"ctx", required_argument, NULL, 'c'},
                                            {"chunks", required_argument, NULL, 'n'},
                                            {"against", required_argument, NULL, 'a'},
                                            {"task", required_argument, NULL, 'q'},
                                            {"limit", required_argument, NULL, 'l'},
                                            {"draw", no_argument, NULL, 'd'},
                                            {"format", required_argument, NULL, 'f'},
                                            {"scores", required_argument, NULL, 's'},
                                            {"precision", required_argument, NULL, 'p'},
                                            {"base-precision", required_argument, NULL, 'b'},
                                            {"kv", required_argument, NULL, 'k'},
                                            {"base-kv", required_argument, NULL, 'v'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    vd_kv_type ignored;
    bool good = true, text_option = false, task_option = false, base_option = false;
    int c;
    while (good && (c = getopt_long(argc, argv, ":t:", options, NULL)) != -1) {
        text_option |= strchr("cnabv", c) != NULL;
        task_option |= strchr("ldfs", c) != NULL;
        base_option |= c == 'b' || c == 'v';
        switch (c) {
        case 'x':
            a->text = optarg;
            break;
        case 'c':
            good = vd_cli_parse_size("eval", "--ctx", optarg, 4, CTX_MAX, &a->ctx);
            break;
        case 'n':
            good = vd_cli_parse_size("eval", "--chunks", optarg, 1, SIZE_MAX, &a->n_chunks);
            break;
        case 'a':
            a->against = optarg;
            break;
        case 'q':
            a->task = optarg;
            break;
        case 'l':
            good = vd_cli_parse_size("eval", "--limit", optarg, 1, SIZE_MAX, &a->limit);
            break;
        case 'd':
            a->draw = true;
            break;
        case 'f':
            good = parse_format(optarg, &a->format);
            break;
        case 's':
            a->scores = optarg;
            break;
        case 'p':
            good = vd_cli_parse_word("eval", "--precision", optarg, "fast", "exact",
                                     &a->options.exact);
            break;
        case 'b':
            good = vd_cli_parse_word("eval", "--base-precision", optarg, "exact", "fast",
                                     &a->base_fast);
            break;
        case 'v':
            good = vd_cli_parse_kv("eval", "--base-kv", optarg, &ignored);
            a->base_kv = optarg;
            break;
        case 'k':
            good = vd_cli_parse_kv("eval", "--kv", optarg, &a->options.kv_type);
            break;
        case 't':
            good = vd_cli_parse_size("eval", "--threads", optarg, 1, 256, &a->options.n_threads);
            break;
        case 'j':
            a->json = true;
            break;
        default:
            good = vd_cli_bad_option("eval", c, argv) == VD_EXIT_OK;
        }
    }
    if (good && optind + 1 != argc) {
        vd_cli_misuse("eval", "one MODEL is needed");
        return false;
    }
    a->model = argv[optind];
    return good && check(a, text_option, task_option, base_option);
}

static int eval_main(int argc, char **argv)
{
    vd_eval_args a = {.ctx = 512};
    if (!parse(argc, argv, &a))
        return VD_EXIT_USAGE;
    return a.task != NULL ? vd_eval_task(&a) : vd_eval_text(&a);
}

const vd_command vd_cmd_eval = {
    .name = "eval",
    .summary = "perplexity of a model, how far it is from another, how many answers it knows",
    .help = help,
    .main = eval_main,
};
