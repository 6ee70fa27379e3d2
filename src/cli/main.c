/* main.c - finds the subcommand and runs it. The list of commands is the list in --help. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <verdant/verdant.h>

#include "base/checked.h"
#include "base/json.h"
#include "cli/format.h"

enum { MESSAGE_MAX = 1024 };

static int version_main(int argc, char **argv)
{
    if (argc > 1)
        return vd_cli_misuse("version", "'%s' is not understood", argv[1]);
    printf("verdant %s\n", vd_version());
    return VD_EXIT_OK;
}

const vd_command vd_cmd_version = {
    .name = "version",
    .summary = "print the version",
    .help = "usage: verdant version\n\nPrints the version.\n\nExample:\n  verdant version\n",
    .main = version_main,
};

static const vd_command *const commands[] = {
    &vd_cmd_doctor,
    &vd_cmd_pull,
    &vd_cmd_list,
    &vd_cmd_show,
    &vd_cmd_rm,
    &vd_cmd_tokenize,
    &vd_cmd_template,
    &vd_cmd_run,
    &vd_cmd_chat,
    &vd_cmd_embed,
    &vd_cmd_serve,
    &vd_cmd_energy,
    &vd_cmd_eval,
    &vd_cmd_import,
    &vd_cmd_compress,
    &vd_cmd_bench,
    &vd_cmd_carbon,
    &vd_cmd_report,
    &vd_cmd_logits,
    &vd_cmd_version,
};

/* A message may quote a file or an argument: its control characters are not the terminal's. */
static void say(const char *command, const char *message)
{
    fprintf(stderr, "verdant %s: ", command);
    vd_cli_put_clean(stderr, message, strlen(message), SIZE_MAX);
    fputc('\n', stderr);
}

int vd_cli_failed(const char *command, const vd_err *err)
{
    say(command, err->message);
    return VD_EXIT_FAILED;
}

int vd_cli_misuse(const char *command, const char *fmt, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    say(command, message);
    fprintf(stderr, "Try: verdant %s --help\n", command);
    return VD_EXIT_USAGE;
}

static void print_overview(FILE *out)
{
    fprintf(out, "Verdant %s - a green model server\n\nusage: verdant COMMAND [ARGUMENTS]\n\n",
            vd_version());
    for (size_t i = 0; i < VD_COUNT(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n`verdant COMMAND --help` explains a command and gives an example.\n");
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

/* A closed 0, 1 or 2 would be the number of the next file that is opened, and a message would be
 * written into a model. What stands in its place cannot be read or written, as before. */
static void hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/* A mapped model was cut short by another program, or its disk failed. Other reasons are ours: the
 * handler is gone by then, and the instruction raises the signal again. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
    static const char words[] = "verdant: a model file was cut short, or its disk failed, while it "
                                "was read; fetch it again\n";
    if (info->si_code != BUS_ADRERR)
        return;
    (void)!write(STDERR_FILENO, words, sizeof(words) - 1);
    _exit(VD_EXIT_FAILED);
}

static void set_signals(void)
{
    struct sigaction bus = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESETHAND};
    sigaction(SIGBUS, &bus, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is a failed write, not a death */
}

static const vd_command *find_command(const char *name)
{
    if (strcmp(name, "--version") == 0)
        return &vd_cmd_version;
    for (size_t i = 0; i < VD_COUNT(commands); i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int no_command(const char *name)
{
    fputs("verdant: there is no command '", stderr);
    vd_cli_put_clean(stderr, name, strlen(name), MESSAGE_MAX);
    fputs("'\nTry: verdant --help\n", stderr);
    return VD_EXIT_USAGE;
}

static void put_help(const vd_command *command)
{
    fputs(command->help, stdout);
    for (size_t i = 0; i < VD_COUNT(command->help_more) && command->help_more[i] != NULL; i++)
        fputs(command->help_more[i], stdout);
}

static int help_main(int argc, char **argv)
{
    const vd_command *command = argc > 1 ? find_command(argv[1]) : NULL;
    if (argc > 1 && command == NULL)
        return no_command(argv[1]);
    if (command != NULL)
        put_help(command);
    else
        print_overview(stdout);
    return VD_EXIT_OK;
}

static int run(int argc, char **argv)
{
    if (argc == 0) {
        print_overview(stderr);
        return VD_EXIT_USAGE;
    }
    const char *name = argv[0];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help_main(argc, argv);
    const vd_command *command = find_command(name);
    if (command == NULL)
        return no_command(name);
    if (!asks_for_help(argc, argv))
        return command->main(argc, argv);
    put_help(command);
    return VD_EXIT_OK;
}

int main(int argc, char **argv)
{
    hold_standard_descriptors();
    set_signals();
    opterr = 0; /* commands say it themselves: vd_cli_bad_option */
    vd_json_init();
    int status = run(argc - 1, argv + 1);
    /* ferror: of what an earlier flush could not write. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == VD_EXIT_OK) {
        fprintf(stderr, "verdant %s: cannot write the output\n", argv[1]);
        status = VD_EXIT_FAILED;
    }
    return status;
}
