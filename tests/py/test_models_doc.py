"""docs/models.md says what is tested, no more and no less."""

import re

from gguf import GGUFWriter
from oracles import archs, models_doc


def test_the_page_is_what_the_lists_of_the_tests_make_of_it():
    text = models_doc.DOC.read_text()
    assert text == models_doc.replaced(text), "run tests/gen/models_doc.py"


def test_the_program_runs_the_architectures_of_the_page_and_no_others(verdant, tmp_path):
    path = tmp_path / "other.gguf"
    writer = GGUFWriter(str(path), "no-such-thing")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    message = verdant("logits", path, "--ids", "1", "-o", tmp_path / "x").stderr
    assert "no-such-thing" in message
    ours = re.search(r"we run: ([^\n]*)", message).group(1).split(", ")
    assert sorted(ours) == sorted(archs.ARCHS)
