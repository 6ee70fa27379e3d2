"""`verdant energy resettle` over a real service: estimates first, final values later."""
import json
from datetime import datetime, timedelta, timezone

import pytest

from serving import CHAT, chat, start, tiny_model


def write_csv(path, value, estimated):
    """A day of five minutes around now."""
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    rows = ["datetime,carbon_intensity_g_per_kwh,estimated"]
    for i in range(-36, 300):
        rows.append(f"{now + timedelta(minutes=5 * i):%Y-%m-%dT%H:%M:%SZ},{value},{estimated}")
    path.write_text("\n".join(rows) + "\n")


def test_estimates_are_replaced_and_both_values_kept(build, verdant, tmp_path):
    model = tiny_model(tmp_path / "t.gguf", vocab="bpe", n_ctx=512, seed=7)
    file, ledger = tmp_path / "grid.csv", tmp_path / "ledger.db"
    write_csv(file, 400, "true")
    with start(build, tmp_path, {"tiny": (model, {})}, carbon={
            "provider": "csv", "file": str(file), "kind": "average"}) as server:
        told = server.ask("POST", CHAT, chat("tiny", max_tokens=5, n=2))[2]
        carbon = told["usage"]["energy"]["carbon"]
        assert carbon["estimated"] is True and carbon["intensity_g_per_kwh"] == pytest.approx(400)
        path = f"/v1/energy/requests/{told['id']}"
        assert "final" not in server.ask("GET", path)[2]["usage"]["energy"]["carbon"]

        def resettle():
            done = verdant("energy", "resettle", "--config", tmp_path / "verdant.yaml",
                           "--ledger", ledger, "--json")
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        first = resettle()  # the file has only estimates yet
        assert first["estimated_shares"] > 0 == first["changed_shares"]
        assert first["without_final_shares"] == first["estimated_shares"]
        write_csv(file, 300, "false")
        second = resettle()
        assert second["changed_requests"] == 2 and second["without_final_shares"] == 0
        assert second["final_g"] == pytest.approx(second["first_g"] * 0.75)
        assert resettle()["changed_shares"] == 0
        after = server.ask("GET", path)[2]["usage"]["energy"]["carbon"]
        assert after["operational_g"] == pytest.approx(carbon["operational_g"], rel=1e-4)
        assert after["final"]["operational_g"] == pytest.approx(after["operational_g"] * 0.75,
                                                                rel=1e-4)
        assert after["final"]["estimated"] is False and after["estimated"] is True
        receipt = server.ask("GET", f"/v1/energy/receipts/{told['id']}")[2]["payload"]["carbon"]
        assert receipt["final"]["g_per_kwh"] == "300" and receipt["g_per_kwh"] == "400"
        sums = server.ask("GET", "/v1/energy")[2]
        assert sums["operational_final_g"] == pytest.approx(sums["operational_g"] * 0.75)
    done = verdant("energy", "audit", "--ledger", ledger)
    assert done.returncode == 0 and "The books add up." in done.stdout


def test_resettle_says_what_it_needs(verdant, tmp_path):
    done = verdant("energy", "resettle", env={"VERDANT_LEDGER": "x"})
    assert done.returncode == 2 and "--provider" in done.stderr
    done = verdant("energy", "resettle", "--provider", "table", "--ledger", tmp_path / "no.db")
    assert done.returncode == 1
