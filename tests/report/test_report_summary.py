from __future__ import annotations

from matcard.report.summary import loss_text


def test_a_loss_is_named_with_its_scale():
    of_class = {"name": "reweight", "invariant": "spread"}
    assert loss_text({**of_class, "scale": 3.0}) == "reweight (spread, scale 3)"
    assert loss_text({**of_class, "scale": 2.718281828459045}) == "reweight (spread, scale 2.71828)"
    assert loss_text({**of_class, "scale": "median"}) == "reweight (spread, scale median)"
    assert loss_text({"name": "cross_entropy"}) == "cross entropy"
