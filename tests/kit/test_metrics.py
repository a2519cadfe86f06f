"""What /metrics tells, judged by Prometheus's own parser."""

from __future__ import annotations

import threading
import time

from prometheus_client.parser import text_string_to_metric_families

from ingot.kit.metrics import Counter, Times, process_text


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_times() -> None:
    times = Times("took_seconds", "How long.", ("path", "status"))
    for seconds in (0.001, 0.005, 0.06, 20.0):
        times.note(('/a"b\\c\nd', 200), seconds)
    times.note(("/", 404), 0.3)
    told = values(times.text())
    odd = (("path", '/a"b\\c\nd'), ("status", "200"))

    def below(end: str) -> float:
        return told["took_seconds_bucket", tuple(sorted((*odd, ("le", end))))]

    assert [below(end) for end in ("0.005", "0.01", "0.075", "10", "+Inf")] == [2, 2, 3, 3, 4]
    assert told["took_seconds_count", odd] == 4
    assert abs(told["took_seconds_sum", odd] - 20.066) < 1e-9
    assert told["took_seconds_count", (("path", "/"), ("status", "404"))] == 1


def test_counts_in_threads() -> None:
    counter = Counter("things_total", "Things.")
    threads = [
        threading.Thread(target=lambda: [counter.add() for _ in range(1000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(counter.text()) == {("things_total", ()): 4000}


def test_the_process_itself() -> None:
    told = {name: value for (name, _), value in values(process_text()).items()}
    assert told["process_cpu_seconds_total"] > 0
    assert 1 << 20 < told["process_resident_memory_bytes"] < told["process_virtual_memory_bytes"]
    assert 0 < told["process_open_fds"] <= told["process_max_fds"]
    assert 0 <= time.time() - told["process_start_time_seconds"] < 86400
    assert told["python_info"] == 1
