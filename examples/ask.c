/* ask.c - a question to a model through libverdant.
 *
 *   cc ask.c $(pkg-config --cflags --libs verdant) -o ask
 *   ./ask SmolLM2-135M-Instruct.Q4_1.gguf "What is the capital of France?"
 */
#include <stdio.h>
#include <verdant/verdant.h>

int main(int argc, char **argv)
{
    vd_engine *engine = NULL;
    char *answer = NULL;
    vd_err err = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL.gguf QUESTION\n", argv[0]);
        return 2;
    }
    vd_status status = vd_engine_open(argv[1], NULL, &engine, &err);
    if (status == VD_OK)
        status = vd_engine_ask(engine, argv[2], 64, &answer, &err);
    if (status == VD_OK)
        puts(answer);
    else
        fprintf(stderr, "%s: %s\n", argv[0], err.message);
    vd_text_free(answer);
    vd_engine_free(engine);
    return status == VD_OK ? 0 : 1;
}
