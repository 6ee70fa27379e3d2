"""`verdant pull hf:...` against a hub on loopback that does everything wrong that a network can."""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from hub import cut, instead, no_ranges, shifted, slow, stall, status, unbounded
from pulling import (HALF, MODEL, REPO, SHA, env, fine, get, home, hub,  # noqa: F401 (fixtures)
                     model_bytes, pull, refused, start, stored)

PART = [".m.part", ".m.part.json"]

pytestmark = pytest.mark.slow  # together they are: each waits for nothing longer than two seconds


# What is asked, and how it is answered.

def test_the_one_model_of_a_repository_is_found_and_stored(get, hub, home):
    result = get(f"hf:{REPO}", "--json")
    fine(result, home, "m", MODEL)
    told = json.loads(result.stdout)
    assert told["source"] == f"hf:{REPO}:m.gguf" and told["sha256"] == SHA
    assert told["files"] == 1 and told["bytes"] == len(MODEL) and result.stderr == ""
    assert json.loads(get(f"hf:{REPO}:m.gguf", "--json").stdout)["was_there"] is True
    assert len(hub.asked("files")) == 1


def test_a_file_that_is_named_needs_no_listing(get, hub, home):
    fine(get(f"hf:{REPO}:m.gguf"), home, "m", MODEL)
    assert [seen["path"] for seen in hub.asked("hub")] == [f"/{REPO}/resolve/main/m.gguf"]


def test_another_revision_is_asked_for_and_kept_apart(get, hub, home):
    other = model_bytes(fill=9)
    hub.add(REPO, {"m.gguf": other}, "refs/pr/1")
    fine(get(f"hf:{REPO}@refs/pr/1"), home, "m", other)
    assert {seen["path"].split("/refs/pr/1")[0] for seen in hub.asked("hub")} == \
        {f"/api/models/{REPO}/tree", f"/{REPO}/resolve"}
    refused(get(f"hf:{REPO}"), "already", f"hf:{REPO}@refs/pr/1:m.gguf")


def test_names_are_escaped(get, hub, home):
    hub.add("org/odd", {"a b/ü #1?%41.gguf": MODEL})
    fine(get("hf:org/odd", "--name", "odd"), home, "odd", MODEL)


def test_several_models_are_listed_and_one_is_chosen_by_a_word(get, hub, home):
    hub.add(REPO, {"mmproj-f16.gguf": MODEL, "m.imatrix.gguf": MODEL, "big/m-F16.gguf": MODEL * 3,
                   **{f"m-{kind}.gguf": model_bytes(fill=i)
                      for i, kind in enumerate(("Q4_K_M", "Q4_K_S", "Q4_K", "BF16", "IQ2_M"))}})
    result = get(f"hf:{REPO}")
    refused(result, "400.1 kB  m-Q4_K_M.gguf", "1.2 MB  big/m-F16.gguf", "6 models", f"hf:{REPO}:")
    assert "mmproj" not in result.stderr and "imatrix" not in result.stderr
    assert stored(home) == [] and hub.asked("files") == []
    fine(get(f"hf:{REPO}:q4_k"), home, "m-Q4_K", model_bytes(fill=2))
    assert json.loads(get(f"hf:{REPO}:F16", "--json").stdout)["name"] == "m-F16"
    refused(get(f"hf:{REPO}:m"), "6 models")
    refused(get(f"hf:{REPO}:Q8_0"), "'Q8_0' is none", "m-IQ2_M.gguf")
    refused(get(f"hf:{REPO}:Q4_K_M", "--name", "m-F16"), "already")


def test_a_repository_without_gguf_says_what_it_has(get, hub):
    hub.add("org/plain", {"config.json": b"{}", "model.safetensors": MODEL})
    refused(get("hf:org/plain"), "not as GGUF", "safetensors")
    hub.add("org/empty", {"README.md": b"# nothing"})
    refused(get("hf:org/empty"), "org/empty holds no GGUF file")


def test_all_pages_of_a_listing_are_read(get, hub, home):
    hub.page = 2
    hub.add(REPO, {**{f"{i}.txt": b"x" for i in range(7)}, "m.gguf": MODEL})
    fine(get(f"hf:{REPO}"), home, "m", MODEL)
    assert len(hub.asked("hub", "cursor=8")) == 1


def test_a_listing_does_not_lead_the_token_elsewhere(get, hub):
    hub.page, hub.next_url = 2, hub.files_url
    refused(get(f"hf:{REPO}", HF_TOKEN="hf_good"), "another host")
    assert hub.asked("files") == []


def test_a_hub_without_trees_is_asked_the_older_way(get, hub, home):
    hub.no_tree = True
    fine(get(f"hf:{REPO}"), home, "m", MODEL)
    assert len(hub.asked("hub", "blobs=true")) == 1


@pytest.mark.parametrize("entry", [
    {"path": "../../evil.gguf", "size": 5}, {"path": "/etc/evil.gguf", "size": 5},
    {"path": "a/../b.gguf", "size": 5}, {"path": "a\n.gguf", "size": 5},
    {"path": "a\\b.gguf", "size": 5}, {"path": "a//b.gguf", "size": 5}, {"path": "", "size": 5},
    {"path": "x" * 5000 + ".gguf", "size": 5}, {"path": "x.gguf", "size": -1},
    {"path": "x.gguf", "size": 2**63 - 1}, {"path": "x.gguf", "size": 2**64},
    {"path": "x.gguf", "size": 1e300}, {"path": "x.gguf", "size": 1, "lfs": {"size": 2**62}},
    {"size": 5}, {"path": 7, "size": 5}])
def test_a_hostile_listing_is_refused(get, hub, home, entry):
    hub.extra_entries = [{"type": "file", **entry}]
    refused(get(f"hf:{REPO}"), "hub")
    assert stored(home) == []


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b"[[]", b"<html>", b"[" * 100_000, b"7",
                                  b'[{"type": "file", "path": "\xff.gguf"}]'])
def test_a_listing_that_is_none_is_refused(get, hub, body):
    hub.fault("hub", "tree", status(200, body))
    refused(get(f"hf:{REPO}"), "listing")


# Who may read.

def test_a_gated_model_says_where_to_accept_its_terms(get, hub, home):
    hub.gates[REPO] = ("gated", {"hf_good"})
    for ref in (f"hf:{REPO}", f"hf:{REPO}:m.gguf"):
        refused(get(ref), "gated", f"{hub.url}/{REPO}", "HF_TOKEN")
        refused(get(ref, HF_TOKEN="hf_other"), "not let in", f"{hub.url}/{REPO}")
    fine(get(HF_TOKEN="hf_good"), home, "m", MODEL)


def test_what_is_not_there_and_what_is_not_ours_are_told_apart(get, hub):
    refused(get("hf:org/absent"), "there is no model org/absent", "HF_TOKEN")
    refused(get("hf:org/absent", HF_TOKEN="hf_good"), "not the token's")
    refused(get(f"hf:{REPO}@v9"), "no revision 'v9'")
    refused(get(f"hf:{REPO}@v9:m.gguf"), "no revision 'v9'")
    refused(get(f"hf:{REPO}:x.gguf"), "no file 'x.gguf'", f"`verdant pull hf:{REPO}`")
    refused(get(HF_TOKEN="hf_wrong"), "does not accept the token", "Invalid credentials")
    hub.fault("hub", "m.gguf", status(403, X_Error_Message="Your plan is over"))
    refused(get(HF_TOKEN="hf_good"), "403", "Your plan is over")


def test_the_token_goes_to_the_hub_alone_and_into_no_message(get, hub, home):
    hub.fault("files", "m.gguf", cut(HALF))
    result = get(f"hf:{REPO}", "--json", HF_TOKEN=" hf_good\n")
    fine(result, home, "m", MODEL)
    assert {seen["authorization"] for seen in hub.asked("hub")} == {"Bearer hf_good"}
    assert {seen["authorization"] for seen in hub.asked("files")} == {None}
    assert "hf_good" not in result.stderr + result.stdout
    assert all(b"hf_good" not in path.read_bytes() for path in (home / "models").iterdir())


@pytest.mark.parametrize("where", ["HF_HOME", "HF_TOKEN_PATH", "XDG_CACHE_HOME", "HOME"])
def test_the_token_is_found_where_the_hubs_client_keeps_it(get, hub, tmp_path, where):
    hub.gates[REPO] = ("private", {"hf_good"})
    path = tmp_path / {"HF_HOME": "token", "HF_TOKEN_PATH": "mine",
                       "XDG_CACHE_HOME": "huggingface/token",
                       "HOME": ".cache/huggingface/token"}[where]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("hf_good\n")
    more = {"HF_HOME": "", "XDG_CACHE_HOME": "", "HOME": "",
            where: str(path if where == "HF_TOKEN_PATH" else tmp_path)}
    refused(get(HF_TOKEN="", HF_HOME=str(tmp_path / "none")), "no model")
    assert get(**more).returncode == 0
    assert get("hf:org/absent", **{**more, "HF_TOKEN": "hf_other"}).returncode == 1
    assert hub.seen[-1]["authorization"] == "Bearer hf_other"  # the variable comes first


def test_a_token_is_not_sent_unencrypted_to_another_machine(get):
    refused(get(HF_ENDPOINT="http://192.0.2.1:80", HF_TOKEN="hf_good"), "unencrypted")
    refused(get(HF_ENDPOINT="http://127.0.0.1.example.org", HF_TOKEN="hf_good"), "unencrypted")
    refused(get(HF_TOKEN="hf_go od"), "holds no token")
    refused(get(HF_ENDPOINT="http://u:p@127.0.0.1"), "HF_ENDPOINT")
    refused(get(HF_ENDPOINT="ftp://127.0.0.1"), "HF_ENDPOINT")
    refused(get(HF_HUB_DOWNLOAD_TIMEOUT="soon"), "HF_HUB_DOWNLOAD_TIMEOUT")


def test_no_proxy_sees_a_token_for_this_machine(get, hub, home):
    dead = "http://127.0.0.1:9"
    result = get(f"hf:{REPO}", HF_TOKEN="hf_good", http_proxy=dead, no_proxy="", NO_PROXY="")
    fine(result, home, "m", MODEL)


# What goes wrong on the way.

def test_a_cut_transfer_goes_on_by_way_of_the_hub(get, hub, home):
    hub.fault("files", "m.gguf", cut(HALF))
    fine(get(), home, "m", MODEL)
    assert [seen["range"] for seen in hub.asked("files")] == [None, f"bytes={HALF}-"]
    assert hub.asked("files")[1]["if_range"] is not None
    assert len(hub.asked("hub")) == 2


@pytest.mark.parametrize("etags", ["weak", "none"])
def test_without_a_validator_the_hash_says_whether_to_go_on(get, hub, home, etags):
    hub.etags = etags
    hub.fault("files", "m.gguf", cut(HALF))
    fine(get(), home, "m", MODEL)
    assert [seen["range"] for seen in hub.asked("files")] == [None, f"bytes={HALF}-"]
    assert hub.asked("files")[1]["if_range"] is None


@pytest.mark.parametrize("etags", ["strong", "none"])
def test_a_file_that_changed_meanwhile_begins_anew(get, hub, home, etags):
    hub.etags = etags
    hub.fault("files", "m.gguf", cut(HALF))
    hub.fault("hub", "m.gguf", hub.redirect(MODEL, "m.gguf"),
              status(404, X_Error_Code="EntryNotFound"))
    refused(get(), "pull again to go on from")
    assert stored(home) == PART
    new = model_bytes(size=399_000)  # another from its first bytes on
    hub.add(REPO, {"m.gguf": new})
    fine(get(), home, "m", new)


def test_a_stalled_transfer_is_given_up_and_goes_on(get, hub, home):
    hub.fault("files", "m.gguf", stall(HALF, 30))
    begin = time.monotonic()
    result = get(HF_HUB_DOWNLOAD_TIMEOUT="2")
    fine(result, home, "m", MODEL)
    assert time.monotonic() - begin < 15 and "nothing came for 2 s" in result.stderr
    assert hub.asked("files")[1]["range"] == f"bytes={HALF}-"


@pytest.mark.parametrize("server", ["hub", "files"])
@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(get, hub, home, server, code):
    hub.fault(server, "m.gguf", *[status(code, Retry_After=0)] * 4)
    fine(get(), home, "m", MODEL)
    assert len(hub.asked(server)) == 5


def test_a_listing_is_asked_for_again_too(get, hub, home):
    hub.fault("hub", "tree", *[status(503, Retry_After=0)] * 2)
    fine(get(f"hf:{REPO}"), home, "m", MODEL)


@pytest.mark.parametrize("headers,least", [({"Retry_After": 2}, 2),
                                           ({"RateLimit": '"api";r=0;t=2'}, 2)])
def test_the_time_that_a_server_asks_for_is_waited(get, hub, home, headers, least):
    hub.fault("hub", "m.gguf", status(429, **headers))
    begin = time.monotonic()
    result = get()
    fine(result, home, "m", MODEL)
    assert time.monotonic() - begin >= least and "trying again in 2 s" in result.stderr


def test_a_wait_that_is_too_long_is_left_to_the_user(get, hub):
    hub.fault("hub", "m.gguf", status(429, Retry_After=3600))
    refused(get(), "60 min")
    hub.fault("hub", "m.gguf", status(429, Retry_After="Fri, 31 Dec 2100 00:00:00 GMT"))
    refused(get(), "min, pull again then")


def test_a_signature_that_is_over_is_renewed(get, hub, home):
    def expire(handler, content, start):
        cut(HALF)(handler, content, start)
        hub.fault("hub", "m.gguf", hub.redirect(MODEL, "m.gguf", signature="old"))
    hub.fault("files", "m.gguf", expire)
    result = get()
    fine(result, home, "m", MODEL)
    assert "signature" in result.stderr
    assert [seen["range"] for seen in hub.asked("files")][-1] == f"bytes={HALF}-"


def test_a_host_that_knows_no_ranges_sends_all_again(get, hub, home):
    hub.fault("files", "m.gguf", cut(HALF), no_ranges)
    fine(get(), home, "m", MODEL)


def test_a_range_that_begins_elsewhere_is_refused(get, hub, home):
    hub.fault("files", "m.gguf", cut(HALF), shifted(10))
    refused(get(), "asked for the bytes from")
    fine(get(), home, "m", MODEL)
    assert hub.asked("files")[-1]["range"] == f"bytes={HALF}-"


def test_a_file_that_is_whole_already_is_only_checked(get, hub, home):
    hub.fault("files", "m.gguf", cut(HALF))
    hub.fault("hub", "m.gguf", hub.redirect(MODEL, "m.gguf"), status(404))
    assert get().returncode == 1
    (home / "models/.m.part").write_bytes(MODEL)
    fine(get(), home, "m", MODEL)
    assert hub.asked("files")[-1]["range"] == f"bytes={len(MODEL)}-"
    assert len(hub.asked("files")) == 2


def test_a_web_page_in_its_place_is_refused(get, hub, home):
    hub.fault("files", "m.gguf", instead(b"<html>log in</html>", Content_Type="text/html"))
    refused(get(), "web page")
    assert not (home / "models/m.gguf").exists()


def test_a_pointer_in_its_place_is_refused(get, hub, home):
    pointer = (f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA}\n"
               f"size {len(MODEL)}\n").encode()
    hub.fault("files", "m.gguf", instead(pointer))
    refused(get(), "Git LFS pointer")
    assert stored(home) == []


@pytest.mark.parametrize("fault", [instead(MODEL + b"more"), unbounded(MODEL + b"more")])
def test_more_than_was_named_is_refused(get, hub, home, fault):
    hub.fault("files", "m.gguf", fault)
    refused(get(), f"{len(MODEL)}")
    assert stored(home) == []


@pytest.mark.parametrize("fault", [instead(MODEL[:HALF]), unbounded(MODEL[:HALF])])
def test_less_than_was_named_is_a_cut(get, hub, home, fault):
    hub.fault("files", "m.gguf", fault)
    result = get()
    fine(result, home, "m", MODEL)
    assert f"ended at byte {HALF} of {len(MODEL)}" in result.stderr


def test_a_hub_that_lies_about_the_size_is_found_out(get, hub, home):
    hub.lies_of_size["m.gguf"] = len(MODEL) - 5
    refused(get(), f"{len(MODEL) - 5}", f"{len(MODEL)}")
    assert stored(home) == []


def test_another_hash_is_refused_with_both(get, hub, home):
    other = model_bytes(fill=3)
    hub.fault("files", "m.gguf", instead(other))
    refused(get(), SHA, hashlib.sha256(other).hexdigest())
    assert stored(home) == []
    hub.lies_of_hash["m.gguf"] = "0" * 64
    refused(get(), SHA, "0" * 64)
    assert stored(home) == []
    del hub.lies_of_hash["m.gguf"]
    refused(get(f"hf:{REPO}", "--sha256", "1" * 64), SHA, "1" * 64)
    assert stored(home) == []


def test_a_disk_that_is_too_small_is_noticed_before_it_is_full(get, hub, home):
    hub.lies_of_size["m.gguf"] = 2**50
    refused(get(), "1.1 PB", "make room there")
    assert sum(path.stat().st_size for path in (home / "models").glob(".m.part")) == 0


def test_what_is_no_model_is_refused(get, hub, home):
    hub.add(REPO, {"m.gguf": b"x" * 5000})
    refused(get(), "GGUF")
    assert stored(home) == []


# Several files, several pulls.

SHARDS = [model_bytes(size=100_000 + i, fill=i, no=i, count=3) for i in (1, 2, 3)]


@pytest.fixture
def split(hub):
    hub.add("org/split", {f"Q8_0/big-{i:05}-of-00003.gguf": SHARDS[i - 1] for i in (1, 2, 3)})
    return "hf:org/split"


def split_is_fine(result, home):
    assert result.returncode == 0, result.stderr
    names = [f"big-{i:05}-of-00003.gguf" for i in (1, 2, 3)]
    assert stored(home) == [*names, "big.json"]
    assert [(home / "models" / name).read_bytes() for name in names] == SHARDS


@pytest.mark.parametrize("file", ["", ":q8_0", ":Q8_0/big-00001-of-00003.gguf",
                                  ":Q8_0/big-00003-of-00003.gguf"])
def test_a_model_in_several_files_comes_whole(get, hub, home, split, file, verdant, env):
    result = get(split + file, "--json")
    split_is_fine(result, home)
    told = json.loads(result.stdout)
    assert told["name"] == "big" and told["files"] == 3
    assert told["bytes"] == sum(map(len, SHARDS))
    listed = json.loads(verdant("list", "--json", env=env).stdout)["models"]
    assert [(m["name"], m["files"], m["bytes"]) for m in listed] == [("big", 3, told["bytes"])]
    shown = json.loads(verdant("show", "big", "--json", env=env).stdout)
    assert shown["n_tensors"] == 3
    assert json.loads(get(split + file, "--json").stdout)["was_there"] is True
    assert verdant("rm", "big", env=env).returncode == 0 and stored(home) == []


def test_later_files_are_of_the_revision_of_the_first(get, hub, home, split):
    split_is_fine(get(split), home)
    assert [seen["path"].split("/")[4] for seen in hub.asked("hub", ".gguf")] == \
        ["main", hub.commit, hub.commit]


def test_a_split_pull_goes_on_with_the_file_it_stopped_in(get, hub, home, split, verdant, env):
    name = "big-00002-of-00003.gguf"
    hub.fault("files", name, cut(50_000))
    hub.fault("hub", name, hub.redirect(SHARDS[1], name),
              status(403, X_Error_Message="not now"))
    refused(get(split), "not now")
    part = home / "models/.big.part-00002-of-00003.gguf"
    assert part.stat().st_size == 50_000
    assert verdant("list", env=env).stdout == ""
    hub.seen.clear()
    split_is_fine(get(split), home)
    assert [seen["range"] for seen in hub.asked("files")] == [f"bytes={len(SHARDS[0])}-",
                                                              "bytes=50000-", None]
    for leftover in (".big.part-00001-of-00003.gguf", ".big.part-00001-of-00003.json"):
        (home / "models" / leftover).write_bytes(b"x")
    assert verdant("rm", "big", env=env).returncode == 0 and stored(home) == []


def test_a_model_that_lacks_a_file_is_not_begun(get, hub, home, split):
    del hub.repos["org/split"]["main"]["Q8_0/big-00002-of-00003.gguf"]
    refused(get(split), "lacks some of the 3 files")
    refused(get(split, "--sha256", "0" * 64), "lacks")
    assert hub.asked("files") == [] and stored(home) == []
    hub.repos["org/split"]["main"]["Q8_0/big-00002-of-00003.gguf"] = SHARDS[0]
    refused(get(split), "is not stored", "names are unique")
    assert stored(home) == []
    refused(get(split, "--sha256", "0" * 64), "--sha256")


def test_room_on_the_disk_is_asked_for_all_files_at_once(get, hub, home, split):
    del hub.repos["org/split"]["main"]["Q8_0/big-00003-of-00003.gguf"]
    hub.extra_entries = [{"type": "file", "path": "Q8_0/big-00003-of-00003.gguf", "size": 2**45}]
    refused(get(split), "35.2 TB", "make room there")
    assert all(path.stat().st_size == 0 for path in (home / "models").glob("*.gguf"))


def test_a_model_in_several_files_comes_from_a_path_and_an_address_too(pull, hub, home, env,
                                                                       tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    for i in (1, 2, 3):
        (folder / f"big-{i:05}-of-00003.gguf").write_bytes(SHARDS[i - 1])
    split_is_fine(pull(folder / "big-00001-of-00003.gguf"), home)
    refused(pull(folder / "big-00002-of-00003.gguf", "--name", "x"), "pull the first")
    shutil.rmtree(home)
    hub.add("org/split", {f"big-{i:05}-of-00003.gguf": SHARDS[i - 1] for i in (1, 2, 3)})
    url = f"{hub.url}/org/split/resolve/main/big-00001-of-00003.gguf?download=true"
    split_is_fine(pull(url), home)


def test_pulls_of_one_model_at_once_fetch_it_once(build, hub, home, env):
    hub.fault("files", "m.gguf", slow(1.5))
    both = [start(build, env, f"hf:{REPO}", "--json") for _ in range(3)]
    told = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0, 0], told
    assert sorted(json.loads(out)["was_there"] for out, _ in told) == [False, True, True]
    assert len(hub.asked("files")) == 1 and stored(home) == ["m.gguf", "m.json"]


def test_pulls_of_two_models_at_once_do_not_wait(build, hub, home, env):
    hub.add("org/other", {"n.gguf": model_bytes(fill=5)})
    hub.fault("files", "m.gguf", slow(5))
    first = start(build, env, f"hf:{REPO}")
    while not hub.asked("files"):
        time.sleep(0.02)
    second = start(build, env, "hf:org/other")
    assert second.wait(timeout=30) == 0 and first.poll() is None
    assert first.wait(timeout=30) == 0
    assert stored(home) == ["m.gguf", "m.json", "n.gguf", "n.json"]


def test_the_second_pull_goes_on_where_the_first_was_interrupted(build, hub, home, env):
    hub.fault("files", "m.gguf", slow(20))
    first = start(build, env, f"hf:{REPO}")
    part = home / "models/.m.part"
    while not (part.exists() and part.stat().st_size > 0):
        time.sleep(0.02)
    second = start(build, env, f"hf:{REPO}")
    time.sleep(0.5)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=20)[1]
    assert first.returncode == 1 and "interrupted; pull again to go on from" in said
    told = second.communicate(timeout=30)
    assert second.returncode == 0 and "waiting for it" in told[1]
    assert hub.asked("files")[1]["range"].startswith("bytes=")
    assert (home / "models/m.gguf").read_bytes() == MODEL


def test_an_interrupt_ends_a_wait_too(build, hub, env):
    hub.fault("hub", "m.gguf", status(503, Retry_After=250))
    process = start(build, env, f"hf:{REPO}:m.gguf")
    while not hub.seen:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=10)[1] and process.returncode == 1


@pytest.mark.parametrize("bad", ["hf:", "hf:repo", "hf:/repo", "hf:org/", "hf:org/repo/x",
                                 "hf:org/repo:", "hf:org/repo@", "hf:org/repo:../x.gguf",
                                 "hf:org/repo:/x.gguf", "hf:org/repo@../../x", "hf:-org/repo",
                                 "hf:org/re po", "hf:org/repo:a\nb", "hf:org/r\xe9po",
                                 "hf:" + "o" * 97 + "/repo", "hf:org/repo:" + "x" * 1100])
def test_references_that_are_none_are_refused_unasked(get, hub, home, bad):
    refused(get(bad), "hf:ORG/REPO")
    assert hub.seen == [] and stored(home) == []


# The hub here is like the hub there.

def test_the_hubs_own_client_downloads_from_this_hub(hub, env, tmp_path):
    pytest.importorskip("huggingface_hub")
    hub.page = 2
    hub.gates["org/gated"] = ("gated", {"hf_good"})
    hub.add("org/gated", {"m.gguf": MODEL})
    script = f"""
import hashlib, huggingface_hub as hh
path = hh.hf_hub_download("{REPO}", "m.gguf")
assert hashlib.sha256(open(path, "rb").read()).hexdigest() == "{SHA}"
assert open(hh.hf_hub_download("{REPO}", "config.json")).read() == "{{}}"
api = hh.HfApi()
assert sorted(api.list_repo_files("{REPO}")) == ["README.md", "config.json", "m.gguf"]
tree = {{e.path: e for e in api.list_repo_tree("{REPO}", recursive=True)}}
assert tree["m.gguf"].lfs.sha256 == "{SHA}" and tree["m.gguf"].size == {len(MODEL)}
meta = hh.get_hf_file_metadata(hh.hf_hub_url("{REPO}", "m.gguf"))
assert (meta.etag, meta.size, meta.commit_hash) == ("{SHA}", {len(MODEL)}, "{hub.commit}")
def why(*args, **more):
    try:
        api.hf_hub_download(*args, **more)
    except Exception as e:
        return [type(x).__name__ for x in (e, e.__cause__)]
assert "GatedRepoError" in why("org/gated", "m.gguf")
assert "GatedRepoError" in why("org/gated", "m.gguf", token="hf_other")
assert "RepositoryNotFoundError" in why("org/absent", "m.gguf")
assert "RevisionNotFoundError" in why("{REPO}", "m.gguf", revision="v9")
assert "RemoteEntryNotFoundError" in why("{REPO}", "absent.gguf")
assert api.hf_hub_download("org/gated", "m.gguf", token="hf_good")
"""
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
             "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    world = {name: value for name, value in {**os.environ, **env, **quiet}.items() if value}
    result = subprocess.run([sys.executable, "-c", script], env=world, capture_output=True,
                            text=True, timeout=120)
    assert result.returncode == 0, result.stderr
