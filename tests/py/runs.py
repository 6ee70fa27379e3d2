"""Run records made on the spot, for the tests of `verdant report`: docs/report.md, written by "
  "hand."""
import json
import random


def record(name, joules_per_token, seconds_per_token, *, n=12, noise=0.02, seed=1, series="s1",
           **changes):
    """A bench of 256 read and 64 written tokens; n pairs whose mood both sides share."""
    mood, own = random.Random(7), random.Random(seed)
    samples = []
    for pair in range(n):
        factor = mood.lognormvariate(0, 0.3)
        phases = {}
        for phase, tokens, cheap in (("prefill", 256, 0.1), ("decode", 64, 1.0)):
            joules = joules_per_token * cheap * tokens * factor * own.lognormvariate(0, noise)
            phases[phase] = {"seconds": seconds_per_token * cheap * tokens * factor,
                             "joules": joules, "tokens": tokens, "cpu_j": 0.75 * joules,
                             "dram_j": 0.25 * joules}
        samples.append({"pair": pair, "order": pair % 2, **phases})
    made = {"schema": "verdant.run/1", "kind": "bench", "series": series,
            "created": "2026-11-28T04:00:00Z",
            "model": {"name": name, "file": name + ".gguf", "bytes": 1000000, "params": 2000000,
                      "sha256": ("%02x" % (sum(map(ord, name)) % 256)) * 32},
            "machine": {"id": "m1", "cpu": "Test CPU", "logical_cpus": 2},
            "settings": {"threads": 2, "batch": 1, "prompt_tokens": 256, "answer_tokens": 64},
            "meter": {"method": "rapl", "common_pct": 5, "independent_pct": 0, "idle_w": 10},
            "carbon": {"intensity_g_per_kwh": 344, "zone": "DE", "kind": "average",
                       "scope": "lifecycle", "basis": "location", "server_kg": 1000,
                       "life_years": 4, "reserved_share": 1},
            "samples": samples}
    for key, value in changes.items():
        made[key] = {**made[key], **value} if isinstance(value, dict) and key in made else value
    return made


def write(folder, name, made):
    path = folder / f"{name}.json"
    path.write_text(json.dumps(made))
    return path
