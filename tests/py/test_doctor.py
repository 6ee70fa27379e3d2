"""`verdant doctor` on system trees that these tests make, and on the machine they run on."""
import ctypes
import json
import os
import re
import subprocess
import threading
import time

import pytest

SERVER = {  # id: name, watts of the fake counter
    "intel-rapl:0": ("package-0", 40), "intel-rapl:0:0": ("core", 25),
    "intel-rapl:0:1": ("dram", 6), "intel-rapl:1": ("package-1", 30),
    "intel-rapl:1:0": ("dram", 4), "intel-rapl:2": ("psys", 120),
    "intel-rapl-mmio:0": ("package-0", 40)}


def make_zones(sysfs, zones):
    """A tree as the kernel has it: a flat class/powercap of links. Gives the counters' paths."""
    links = sysfs / "class/powercap"
    links.mkdir(parents=True)
    counters = {}
    for zone, (name, _) in zones.items():
        parts = zone.split(":")
        nested = "/".join([parts[0], *(":".join(parts[:i + 1]) for i in range(1, len(parts)))])
        folder = sysfs / "devices/virtual/powercap" / nested
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "max_energy_range_uj").write_text("262143328850\n")
        (folder / "energy_uj").write_text("0" * 19 + "1\n")
        (links / zone).symlink_to(f"../../devices/virtual/powercap/{nested}")
        if not (links / parts[0]).exists():
            (links / parts[0]).symlink_to(f"../../devices/virtual/powercap/{parts[0]}")
        counters[zone] = folder / "energy_uj"
    return counters


class Ticking:
    """Lets the counters run, each at its watts."""

    def __init__(self, counters, zones):
        self.files = [(os.open(path, os.O_WRONLY), zones[zone][1])
                      for zone, path in counters.items()]
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        begin = time.monotonic()
        while not self.stop.wait(0.001):
            for fd, watts in self.files:  # never a shorter text: the file is never half written
                uj = int((time.monotonic() - begin) * watts * 1e6)
                os.pwrite(fd, b"%020d\n" % (uj + 1), 0)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        for fd, _ in self.files:
            os.close(fd)


@pytest.fixture
def doctor(verdant, tmp_path):
    """Runs `doctor --json` in tmp_path's tree, with a store of its own; gives report and status."""

    def run(*args, env=None, **more):
        (tmp_path / "home").mkdir(exist_ok=True)
        env = {"VERDANT_SYSFS": str(tmp_path / "sys"), "VERDANT_HOME": str(tmp_path / "home"),
               "VERDANT_CPU": "", **(env or {})}
        result = verdant("doctor", "--json", *args, env=env, **more)
        assert result.stderr == ""
        return json.loads(result.stdout), result.returncode

    return run


def uses(report):
    return {zone["id"]: zone["use"] for zone in report["energy"]["zones"]}


def keys_of(value):
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


@pytest.mark.slow
def test_two_sockets_are_read_in_watts_and_memory_in_gigabytes_per_second(doctor, tmp_path):
    with Ticking(make_zones(tmp_path / "sys", SERVER), SERVER):
        report, status = doctor()
    assert status == 0 and report["can_serve"]
    energy = report["energy"]
    assert uses(report) == {
        "intel-rapl:0": "read", "intel-rapl:0:0": "part", "intel-rapl:0:1": "read",
        "intel-rapl:1": "read", "intel-rapl:1:0": "read", "intel-rapl:2": "whole",
        "intel-rapl-mmio:0": "twin"}
    assert (energy["method"], energy["uncertainty_pct"]) == ("rapl", 5)
    assert energy["why"] is None and energy["remedies"] == []
    for phase in ("waiting", "reading_memory"):
        total = 0
        # A loaded machine may hold our ticks up; all counters are then late by the same part.
        late = energy["zones"][1]["watts"][phase] / SERVER["intel-rapl:0"][1]
        assert 0.4 < late < 1.6
        for zone in energy["zones"]:
            if zone["use"] != "read":
                assert zone["watts"] is None
                continue
            assert zone["watts"][phase] == pytest.approx(late * SERVER[zone["id"]][1], rel=0.1)
            assert zone["component"] == ("dram" if zone["name"] == "dram" else "cpu")
            total += zone["watts"][phase]
        assert energy["watts"][phase] == pytest.approx(total, abs=0.01)
    bandwidth = report["memory"]["read_bandwidth"]
    assert bandwidth["gb_s"] >= bandwidth["median_gb_s"] > 0.1
    assert bandwidth["bytes"] >= 64 << 20 and bandwidth["passes"] >= 1


def test_counters_for_root_alone_are_said_and_the_first_remedy_works(doctor, tmp_path):
    counters = make_zones(tmp_path / "sys", SERVER)
    root = os.geteuid() == 0
    for path in counters.values():
        path.chmod(0o400 if root else 0)
        if root:
            os.chown(path, 65534, 65534)

    def without_override():  # root reads everything but for these two capabilities
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP

    def look():
        return doctor("--quick", preexec_fn=without_override if root else None)[0]

    report = look()
    if root and uses(report)["intel-rapl:0"] == "read":
        pytest.skip("this root may not give up capabilities")
    assert uses(report)["intel-rapl:0"] == uses(report)["intel-rapl:0:1"] == "denied"
    assert uses(report)["intel-rapl:0:0"] == "part"
    assert report["energy"]["method"] == "model" and report["energy"]["uncertainty_pct"] > 20
    assert "energy_uj may be read by root only" in report["energy"]["why"]
    assert any("modelled" in note for note in report["notes"])
    command = report["energy"]["remedies"][0]["command"]
    assert command.startswith("sudo chmod ")
    subprocess.run(["sh", "-c", command.removeprefix("sudo ")], check=True)
    report = look()
    assert report["energy"]["method"] == "rapl"
    assert uses(report)["intel-rapl:0"] == "read"


def test_without_a_tree_the_model_serves_and_doctor_says_why(doctor, tmp_path):
    (tmp_path / "sys").mkdir()
    report, status = doctor("--quick")
    energy = report["energy"]
    assert status == 0
    assert (energy["method"], energy["zones"], energy["watts"]) == ("model", [], None)
    assert "there is no" in energy["why"] and len(energy["remedies"]) == 1
    model = energy["model"]
    assert 0 < model["waiting_w"] < model["full_w"] and model["threads"] > 0
    assert 20 < model["uncertainty_pct"] < 200 and model["family"] and model["source"]
    parts = (model["common_pct"] ** 2 + model["independent_pct"] ** 2) ** 0.5
    assert abs(parts - model["uncertainty_pct"]) < 0.01
    assert report["memory"]["read_bandwidth"] is None


def test_a_masked_tree_is_told_from_a_missing_one(doctor, tmp_path):
    (tmp_path / "sys/class/powercap").mkdir(parents=True)
    (tmp_path / "sys/class/powercap/intel-rapl:0").symlink_to("../../devices/virtual/gone")
    energy = doctor("--quick")[0]["energy"]
    assert "a container masks it" in energy["why"]
    assert "docker run" in energy["remedies"][0]["command"]


def test_a_broken_counter_leaves_the_figure_to_the_model(doctor, tmp_path):
    counters = make_zones(tmp_path / "sys", SERVER)
    counters["intel-rapl:1"].write_text("ten\n")
    report, _ = doctor("--quick")
    assert uses(report)["intel-rapl:1"] == "broken"
    assert report["energy"]["method"] == "model"


@pytest.mark.slow
def test_a_counter_that_stands_still_is_noted(doctor, tmp_path):
    make_zones(tmp_path / "sys", {"intel-rapl:0": ("package-0", 0)})
    report, _ = doctor()
    assert any("intel-rapl:0 (package-0) did not move" in note for note in report["notes"])
    assert report["energy"]["zones"][0]["watts"] == {"waiting": 0, "reading_memory": 0}


def test_keys_are_stable_and_all_stand_in_the_help(doctor, verdant, tmp_path):
    make_zones(tmp_path / "sys", SERVER)
    report, _ = doctor("--quick")
    assert list(report) == ["version", "can_serve", "problems", "notes", "cpu", "kernels", "memory",
                            "energy", "gpus", "mpi", "store"]
    explained = set(re.findall(r"\w+", verdant("doctor", "--help").stdout))
    assert keys_of(report) <= explained


def test_kernels_follow_the_processor_and_the_mask(doctor):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = set(re.search(r"^(flags|Features)\s*:(.*)$", file.read(), re.M)[2].split())
    report, _ = doctor("--quick")
    levels = {level["name"]: level for level in report["kernels"]["levels"]}
    assert levels["c"]["runs"] and report["kernels"]["mask"] is None
    assert [level["used"] for level in levels.values()].count(True) == 1
    needs = {"avx2": {"avx2", "fma", "f16c"},
             "avxvnni": {"avx2", "fma", "f16c", "avx_vnni"},
             "avx512": {"avx2", "fma", "f16c", "avx512f", "avx512dq", "avx512bw", "avx512vl",
                        "avx512_vnni"},
             "neon": {"asimd"}, "dotprod": {"asimd", "asimddp"},
             "i8mm": {"asimd", "asimddp", "i8mm"}}
    needs["avx512-vbmi2"] = needs["avx512"] | {"avx512_vbmi2"}
    needs["avx512-bf16"] = needs["avx512"] | {"avx512_bf16"}
    needs["amx"] = needs["avx512-bf16"] | {"amx_tile", "amx_bf16", "amx_int8"}
    for name in set(levels) - {"c"}:
        missing = needs[name] - flags
        assert levels[name]["runs"] == (not missing)
        assert (levels[name]["lacks"] is None) == levels[name]["runs"]
        for flag in missing:
            assert flag.upper() in levels[name]["lacks"]
    assert {"avx2", "fma", "asimd"} & flags <= set(report["cpu"]["extensions"])

    best = report["kernels"]["used"]
    report, _ = doctor("--quick", env={"VERDANT_CPU": "c"})
    assert (report["kernels"]["used"], report["kernels"]["mask"]) == ("c", "c")
    if best != "c":
        assert any(f"VERDANT_CPU=c holds the kernels below {best}" in n for n in report["notes"])
    report, _ = doctor("--quick", env={"VERDANT_CPU": "sse9"})
    assert report["kernels"]["used"] == best
    assert any("VERDANT_CPU=sse9 is no level" in note for note in report["notes"])


def test_a_machine_that_cannot_store_a_model_cannot_serve(doctor):
    report, status = doctor("--quick", env={"VERDANT_HOME": "/proc/self/none"})
    assert status == 1
    assert report["can_serve"] is False and "there are no models" in report["problems"][0]


def test_a_small_control_group_is_seen(doctor, tmp_path):
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("50000 100000\n")
    (group / "memory.max").write_text("300000000\n")
    (group / "memory.current").write_text("200000000\n")
    report, status = doctor("--quick")
    assert report["cpu"]["usable_cpus"] == 0.5
    assert report["memory"]["usable_bytes"] == 300000000
    assert report["memory"]["available_bytes"] == 100000000
    assert status == 1 and "of memory is available" in report["problems"][0]
    assert any("quota" in note for note in report["notes"])


def make_device(sysfs, address, **files):
    folder = sysfs / "bus/pci/devices" / address
    folder.mkdir(parents=True)
    for name, text in files.items():
        if name == "driver":
            (sysfs / "bus/pci/drivers" / text).mkdir(parents=True)
            (folder / name).symlink_to(f"../../drivers/{text}")
        else:
            (folder / name).write_text(text + "\n")


def compile_library(path, code):
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, "-x", "c", "-"], input=code, text=True,
                   check=True)


NVML = r"""
#include <stdio.h>
struct pci { char legacy[16]; unsigned domain, bus, device, id, sub; char bus_id[32]; };
struct memory { unsigned long long total, free, used; };
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *v, unsigned n) { return snprintf(v, n, "550.1") < 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { *d = (void *)(i + 1ul); return 0; }
int nvmlDeviceGetName(void *d, char *v, unsigned n) {
    return snprintf(v, n, "Fake %lu", (unsigned long)d) < 0; }
int nvmlDeviceGetPciInfo_v3(void *d, struct pci *p) {
    p->domain = 0; p->bus = 0x3a + (unsigned long)d; p->device = 0; return 0; }
int nvmlDeviceGetMemoryInfo(void *d, struct memory *m) { m->total = 1000; return 0; }
"""


def test_gpus_are_found_on_the_bus_and_named_by_their_drivers(doctor, tmp_path):
    sysfs, libraries = tmp_path / "sys", tmp_path / "lib"
    libraries.mkdir()
    make_device(sysfs, "0000:3b:00.0", **{"class": "0x030200"}, vendor="0x10de", device="0x2330")
    make_device(sysfs, "0000:41:00.0", **{"class": "0x038000"}, vendor="0x1002", device="0x740f",
                product_name="AMD Instinct MI210", mem_info_vram_total="68702699520",
                driver="amdgpu")
    make_device(sysfs, "0000:01:00.0", **{"class": "0x020000"}, vendor="0x8086", device="0x1533")
    make_device(sysfs, "0000:00:02.0", **{"class": "0x030000"}, vendor="0x1af4", device="0x1050")
    # A library of this name that is not NVML, so that the machine's own is not found.
    compile_library(libraries / "libnvidia-ml.so.1", "int nothing;")
    env = {"LD_LIBRARY_PATH": str(libraries)}
    gpus = doctor("--quick", env=env)[0]["gpus"]
    assert gpus["used"] is False and "cannot be used" in gpus["nvml"]
    assert gpus["devices"] == [
        {"vendor": "NVIDIA", "name": "device 10de:2330", "address": "0000:3b:00.0",
         "driver": None, "memory_bytes": None},
        {"vendor": "AMD", "name": "AMD Instinct MI210", "address": "0000:41:00.0",
         "driver": "amdgpu", "memory_bytes": 68702699520}]

    compile_library(libraries / "libnvidia-ml.so.1", NVML)
    gpus = doctor("--quick", env=env)[0]["gpus"]
    assert gpus["nvml"] == "driver 550.1"
    assert [(gpu["address"], gpu["name"], gpu["memory_bytes"]) for gpu in gpus["devices"]] == [
        ("0000:3b:00.0", "Fake 1", 1000), ("0000:41:00.0", "AMD Instinct MI210", 68702699520),
        ("0000:3c:00.0", "Fake 2", 1000)]


def test_mpi_is_asked_for_its_version_and_nothing_is_run(doctor, tmp_path):
    compile_library(tmp_path / "libmpi.so.40", r"""
        #include <stdio.h>
        int MPI_Get_library_version(char *v, int *n) {
            *n = sprintf(v, "Open MPI v4.1.99, package: here"); return 0; }""")
    launcher = tmp_path / "mpirun"
    launcher.write_text("#!/bin/sh\ntouch \"$(dirname \"$0\")/was-run\"\n")
    launcher.chmod(0o755)
    report, _ = doctor("--quick", env={"LD_LIBRARY_PATH": str(tmp_path),
                                       "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert report["mpi"] == {"used": False, "library": "Open MPI v4.1.99", "file": "libmpi.so.40",
                             "launcher": str(launcher)}
    assert not (tmp_path / "was-run").exists()


def test_the_table_for_people_fits_a_terminal(verdant, tmp_path):
    make_zones(tmp_path / "sys", SERVER)
    result = verdant("doctor", "--quick", env={"VERDANT_SYSFS": str(tmp_path / "sys"),
                                               "VERDANT_HOME": str(tmp_path)})
    lines = result.stdout.splitlines()
    assert lines[0].endswith("this machine can serve")
    labels = [line[:12].strip() for line in lines[2:] if line[:12].strip()]
    for label in ("processor", "kernels", "memory", "energy", "zones", "model", "GPUs", "MPI",
                  "models"):
        assert label in labels, label
    assert max(map(len, lines)) <= 100
    assert not any(line.endswith(" ") for line in lines)
    assert re.search(r"intel-rapl:0 +package-0 +read", result.stdout)
    assert re.search(r"intel-rapl-mmio:0 +package-0 +twin of another", result.stdout)


def test_options_it_does_not_know_are_misuse(verdant):
    assert verdant("doctor", "--loud").returncode == 2
