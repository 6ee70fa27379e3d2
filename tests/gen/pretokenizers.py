"""Pre-tokenizers: what each family does in Hugging Face's terms, and where llama.cpp differs.

The patterns are those of the models' own tokenizer.json. tests/py/test_pretokenizers.py walks this
list, and models_doc.py makes a table of docs/models.md of it.
"""

from dataclasses import dataclass

ANY_CASE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = (ANY_CASE + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES)
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = (ANY_CASE + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
          + SPACES)
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def cased(ending, digits):
    """GPT-4o's words: capitals, then small letters."""
    return (rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+{ending}"
            rf"|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*{ending}"
            rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|" + SPACES)


O200K = cased(ANY_CASE + "?", r"\p{N}{1,3}")
NO_HAN = r"&&[^\p{Han}]"
KIMI = (rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}{NO_HAN}]*[{LOWER}{NO_HAN}]+{ANY_CASE}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}{NO_HAN}]+[{LOWER}{NO_HAN}]*{ANY_CASE}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES)
DEEPSEEK_WORDS = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
                  r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+")
DEEPSEEK3 = DEEPSEEK_WORDS + r"[\r\n]*|" + SPACES
DEEPSEEK_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DEEPSEEK3_CJK = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
# Cased letters of DeepSeek's day, as code points: begin and end of each range.
DEEPSEEK_LETTERS = """
41 5a 61 7a b5 b5 c0 d6 d8 f6 f8 1ba 1bc 1bf 1c4 293 295 2af 370 373 376 377 37b 37d 37f 37f 386 386
388 38a 38c 38c 38e 3a1 3a3 3f5 3f7 481 48a 52f 531 556 10a0 10c5 13a0 13f5 13f8 13fd 1c90 1cba 1cbd
1cbf 1d00 1d2b 1d6b 1d77 1d79 1d9a 1e00 1f15 1f18 1f1d 1f20 1f45 1f48 1f4d 1f50 1f57 1f59 1f59 1f5b
1f5b 1f5d 1f5d 1f5f 1f7d 1f80 1fb4 1fb6 1fbc 1fbe 1fbe 1fc2 1fc4 1fc6 1fcc 1fd0 1fd3 1fd6 1fdb 1fe0
1fec 1ff2 1ff4 1ff6 1ffc 2102 2102 2107 2107 210a 2113 2115 2115 2119 211d 2124 2124 2126 2126 2128
2128 212a 212d 212f 2134 2139 2139 213c 213f 2145 2149 214e 214e 2183 2184 2c00 2c7b 2c7e 2ce4 2ceb
2cee 2cf2 2cf3 a640 a66d a680 a69b a722 a76f a771 a787 a78b a78e ab70 abbf fb00 fb06 fb13 fb17 ff21
ff3a ff41 ff5a 10400 1044f 104b0 104d3 104d8 104fb 10c80 10cb2 10cc0 10cf2 118a0 118df 1e900 1e943
""".split()
DEEPSEEK_LETTERS = r"\s?[" + "".join(
    rf"\x{{{a}}}-\x{{{b}}}" for a, b in zip(DEEPSEEK_LETTERS[::2], DEEPSEEK_LETTERS[1::2])) + "]+"
BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
AFMOE_CJK = ("[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u30ff\uff65-\uff9f\u2f00-\u2fdf"
             "\u0e40-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af"
             "\u1100-\u11ff]+")
YOUTU = ("[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b"
         "\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|" + DEEPSEEK3_CJK)
EXAONE_MOE = (ANY_CASE + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
              r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+")
JAIS2 = LLAMA3.removesuffix(r"\s+(?!\S)|\s+") + "".join(
    rf"\s{{{n}}}(?!\S)|" for n in (512, 256, 128, 64, 32, 16, 8, 4, "1,2")) + r"\s{1}"

DIGITS = object()                       # each digit alone
SIGNS, EACH_SIGN = object(), object()   # runs of punctuation; each alone


@dataclass
class Family:
    """One way to cut. kin: further names of it. hf: steps (patterns or the above) before bytes are
    mapped, None where it is llama.cpp's own; gpt2: then GPT-2's pattern; after: steps behind.
    peer: "" where llama.cpp gives the same ids, else why it does not."""

    kin: str = ""
    hf: tuple = ()
    gpt2: bool = False
    after: tuple = ()
    ignore_merges: bool = False
    peer: str = ""


SPACES_TOO = "takes white space for ASCII's, also in a range of characters that holds some"
BOTH_CASES = "takes letters beyond ASCII for both cases"
NO_CASES = "does not tell cases apart"
FAMILIES = {
    "default": Family(hf=None),
    "gpt-2": Family("gpt2 mpt olmo phi-2 jais trillion granite-docling exaone4 gigachat mellum "
                    "modern-bert jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code "
                    "roberta-bpe a.x-4.0", gpt2=True),
    "smollm": Family("starcoder refact command-r codeshell exaone minerva-7b mellum2", (DIGITS,),
                     True),
    "falcon": Family("", (SIGNS,), True, ("[0-9][0-9][0-9]",)),
    "llama-bpe": Family("llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
                        (LLAMA3,), ignore_merges=True),
    "dbrx": Family("smaug-bpe chatglm-bpe glm4", (LLAMA3,)),
    "jais-2": Family("", (JAIS2,)),
    "qwen2": Family("deepseek-r1-qwen stablelm2 megrez hunyuan solar-open grok-2 kormo f2llmv2 "
                    "bailingmoe bailingmoe2 llada-moe", (QWEN2,)),
    "qwen35": Family("", (QWEN35,)),
    "ufakzeka": Family("", (QWEN2.removeprefix(ANY_CASE + "|"),)),
    "seed-coder": Family("", (QWEN2.replace(r"[^\s\p{L}\p{N}]+[\r\n]*", r"[^\s\p{L}\p{N}\r\n]+"),)),
    "laguna": Family("", (r"[^\n]+|[\n]+", QWEN2)),
    "minicpm5": Family("", (r"\p{N}{1,3}", LLAMA3.replace("{1,3}", "+")), ignore_merges=True),
    "exaone-moe": Family("", (EXAONE_MOE,), peer="does not read U+017F as an s"),
    "deepseek-llm": Family(
        "", (r"[\r\n]", DEEPSEEK_LETTERS, "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f"
             "\u3000-\u3002]+", r"\s+$", DEEPSEEK_CJK, r"\p{N}+"),
        peer=SPACES_TOO),
    "deepseek-coder": Family(
        "", (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"),
        peer=SPACES_TOO),
    "deepseek-v3": Family("hunyuan-dense joyai-llm hy_v4",
                          (r"\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3)),
    "spark2_5": Family("", (r"\p{N}{1,3}", DEEPSEEK3_CJK,
                            DEEPSEEK_WORDS + r"|[\r\n]|\s+(?!\S)|\s+", r"\p{N}")),
    "afmoe": Family("", (r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", AFMOE_CJK, DEEPSEEK3),
                    peer="keeps the text before a number and its first digits together"),
    "tekken": Family("", (cased("", r"\p{N}"),), ignore_merges=True,
                     peer=BOTH_CASES + ", and marks for no part of a word"),
    "gpt-4o": Family("llama4 kanana2 talkie minimax-m2", (O200K,),
                     peer=BOTH_CASES + ", and marks for no part of a word"),
    "granite-embed-multi-97m": Family("", (O200K,), ignore_merges=True, peer=BOTH_CASES),
    "tiny_aya": Family("cohere2moe", (r"\d{1,3}(?=(?:\d{3})*\b)", O200K), peer=NO_CASES),
    "youtu": Family("", (YOUTU, cased(ANY_CASE + "?", r"\p{N}")), ignore_merges=True,
                    peer=NO_CASES),
    "kimi-k2": Family("", (KIMI,), peer="cuts words of mixed case otherwise"),
    "superbpe": Family("", (r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
                       peer="counts ASCII digits alone in threes"),
    "bloom": Family("poro-chat gpt3-finnish", (BLOOM,)),
    "viking": Family("", (BLOOM, r"\p{N}")),
    "chameleon": Family("", ("<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                             "([\\t\\n]|    |  )", DIGITS, EACH_SIGN), True),
}
# Characters merge over whole lines; tests/py/test_tokenizers.py.
RAW = {"gemma4": "granite-embed-multi-311m", "sarvam-moe": ""}
